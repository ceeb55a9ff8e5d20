/*
 * One step from a frame to its caller. The memo and the plain walk share it.
 */
#ifndef HEAPSUM_STEP_H
#define HEAPSUM_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "stacks/bounds.h"
#include "stacks/rules.h"

static inline uintptr_t word_at(uintptr_t address) { return *(const volatile uintptr_t *)address; }
static inline bool holds(struct cfi_bounds bounds, uintptr_t address) {
    return address >= bounds.low && address <= bounds.high - 8;
}

/* struct machine_state: a thread's registers at one of its frames, as far as unwinding needs them; and
 * step_plainly(). */
#if defined(__x86_64__)
#include "stacks/x86_64/state.h"
#elif defined(__aarch64__)
#include "stacks/aarch64/state.h"
#endif

/* The result of a step. */
enum step {
    STEP_DONE, /* `state` is the caller's */
    /* `state` is the caller's, and a signal interrupted it: its pc is that of an instruction, not a return address */
    STEP_EXACT,
    STEP_END,       /* this was the outermost frame */
    STEP_NOWHERE,   /* the rule leads nowhere: the stack is cut */
    STEP_INTERPRET, /* only the full interpreter can do it */
};

/* Steps by any rule. If a signal handler ran on its own stack, the bounds become those of the interrupted stack.
 */
enum step step(struct machine_state *state, uint64_t rule, struct cfi_bounds *bounds);

/*
 * The rule for code without call frame information, instead of a guess: from the function's own instructions, if the
 * return address to which they lead belongs to a call of this function. Only with musl, which is built without tables,
 * and unloads nothing. Other rules are returned as they are, and so is a guess that can't be proved.
 * `key` is the instruction at which the frame is: one byte back from a return address.
 *
 * A proved rule is put into the rule cache. Complexity: one look-up; at the first few times of a pc up to some hundred
 * microseconds.
 */
uint64_t rule_measured(
    uint64_t rule, const struct machine_state *state, uintptr_t key, const struct cfi_bounds *bounds);

#endif
