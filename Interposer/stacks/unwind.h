/*
 * Unwinding: who called the hook, out to the thread's start.
 *
 * One function hides three unwinders: our own (unwind_own.h, the default where it exists), frame pointers, and
 * libunwind (libunwind.c), which is also the oracle of HEAPSUM_VERIFY.
 */
#ifndef HEAPSUM_UNWIND_H
#define HEAPSUM_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/callers.h"
#include "base/options.h"
#include "stacks/scratch.h"
#include "threads/thread.h"

struct hook;

/* Looks at the process, once at the start. */
void unwind_start(void);

/* The unwinder in use (enum heap_unwinder). */
uint32_t unwind_kind(void);

/* Whether nearly all stacks are found by the memo alone: with our own unwinder, without an oracle, and with a depth
 * above 0. */
bool unwind_is_plain(void);

/* Whether a stack is found without a call of another library, which may allocate. */
bool unwind_is_alone(void);

/* The stack that called the hook with this frame, if unwind_is_plain() but the memo alone can't answer: after a C++
 * runtime's operator new, or if a frame needs the interpreter. */
uint32_t unwind_plainly_slowly(struct machine_frame hook_frame);

/* The same for any caller, nearly always by the memo. A hook has a frame pointer, so its caller's frame pointer and
 * return address lie at its frame. */
static inline __attribute__((always_inline)) uint32_t unwind_plainly(struct machine_frame hook_frame) {
    uint32_t stack = 0;
#ifdef OWN_UNWINDER
    const uintptr_t *frame = (const uintptr_t *)hook_frame.fp, sp = machine_caller_sp(hook_frame),
                    pc = machine_strip(frame[1]);
    if (likely(!caller_is_runtime(pc))) {
        stack = memo_usual(&local.scratch->memory, pc, sp);
        if (unlikely(stack == 0)) stack = memo_stack(local.scratch, pc, sp, frame[0]);
    }
#endif
    return likely(stack != 0) ? stack : unwind_plainly_slowly(hook_frame);
}

/* Called around a fork. No other thread is inside libunwind while the address space is copied, as far as a bounded wait
 * can ensure that. */
void unwind_fork_begin(void);
void unwind_fork_end(bool in_child);

/* The number of the stack that called the hook. Keeps errno. Waits only while another thread loads libunwind. */
uint32_t unwind_stack(const struct hook *hook);

/* The same of code at hook->caller with these registers. Between it and the hook are only this library's frames. */
uint32_t unwind_stack_at(const struct hook *hook, uintptr_t sp, uintptr_t fp);

#endif
