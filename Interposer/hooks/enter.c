/*
 * Entering and leaving hooks, and finding the stack that called one.
 *
 * A thread is in a hook from the hook's first line to its last, including the real call. A call that arrives meanwhile
 * is one of three: a signal handler's, which is booked at the next level without the ring; the allocator's own, which
 * is part of the outer call; or, after a longjmp out of a handler, an ordinary call, and the old hook will never
 * return.
 */
#include "hooks/enter.h"

#include <string.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/system.h"
#include "book/ring.h"
#include "process/attach.h"
#include "process/start.h"
#include "stacks/tree.h"
#include "stacks/unwind.h"

/* Whether a call within a hook is the recorder's: from the unwinder, or from the loader for the unwinder's TLS. */
static bool is_ours(uintptr_t caller) {
    return local.unwinding != 0 && (module_span_holds(&callers.unwinder, caller) || loader_holds(caller));
}

/*
 * Whether the function that the current hook called has jumped here (jemalloc's operator delete[] is `jmp free`). If
 * so, we return into our own module, and our caller's frame is that hook's. A signal handler's hook has another frame.
 */
static bool is_tail_call(const struct hook *hook, uint32_t level) {
    return caller_is_own(hook->caller) && *(const uintptr_t *)hook->frame.fp == local.owners[level - 1];
}

/*
 * How many of the hooks that this thread entered are still running: this hook's level. A frame is below its callers'
 * frames on the same stack. If the alternate signal stack is in use, that tells which hook interrupted which.
 *
 * Where others were abandoned, this hook takes its level at once, before it puts right what they left. So a handler
 * that interrupts this finds a hook under way, and one that jumps away leaves a level that the next hook frees.
 */
static uint32_t level_for(uintptr_t frame) {
    stack_t alternate = {.ss_flags = SS_DISABLE};
    system_alternate_stack(&alternate);
    uintptr_t start = (uintptr_t)alternate.ss_sp;
    bool here = alternate.ss_flags & SS_ONSTACK;
    uint32_t level = local.level;
    for (; level > 0; level--) {
        uintptr_t owner = local.owners[level - 1];
        if (owner == 0) break; /* not known: see hook_own */
        bool there = !(alternate.ss_flags & SS_DISABLE) && owner - start < alternate.ss_size;
        if (here == there ? frame < owner : here) break; /* it was interrupted by the signal whose handler called us */
    }
    if (level == local.level) return level;
    hook_own(level, frame);
    if (level != 0) return level;
    local.unwinding = 0;
    if (local.attaching != 0) local.image = local.attaching = 0;              /* begins again */
    if (local.record != NULL && local.image == load_acquire(&image_number)) { /* an earlier image may be gone */
        ring_sum_up(local.record, local.ring);
        ring_settle(local.record, local.ring, local.index);
    }
    return level;
}

bool hook_enter(struct hook *hook, struct machine_frame frame, uintptr_t caller) {
    *hook = (struct hook){.stack = TREE_EMPTY_STACK, .frame = frame, .caller = caller};
    if (unlikely(!local.ready)) { /* the loader has not initialized this thread's TLS yet */
        start_miss();
        return false;
    }
    if (!hook_is_live() && !start_recording()) return false;
    uint32_t level = local.level;
    bool ours = local.ours != 0;
    if (level != 0) {
        if (module_span_holds(&callers.allocator, hook->caller) || is_tail_call(hook, level)) return false;
        if (is_ours(hook->caller)) ours = true;
        else level = level_for(hook->frame.fp);
    }
    hook->ours = ours;
    hook->level = ours ? HOOK_LEVELS : level;
    if (level < HOOK_LEVELS) hook_own(level, hook->frame.fp);
    if (local.image != load_acquire(&image_number)) thread_attach(level);
    if (ours && level < HOOK_LEVELS) hook_disown(level);
    return true;
}

static bool may_unwind(const struct hook *hook) {
    if (image.header->depth == 0 || hook->ours) return false;
    if (likely(local.scratch != NULL && hook->level < HOOK_LEVELS)) return true;
    LOSE(lost_stacks, 1);
    return false;
}

void hook_stack(struct hook *hook) {
    if (may_unwind(hook)) hook->stack = unwind_stack(hook);
}

void hook_stack_at(struct hook *hook, uintptr_t sp, uintptr_t fp) {
    if (may_unwind(hook)) hook->stack = unwind_stack_at(hook, sp, fp);
}

uint32_t hook_stack_of(struct machine_frame frame, uintptr_t caller) {
    struct hook hook = {.stack = TREE_EMPTY_STACK, .frame = frame, .caller = caller};
    hook_stack(&hook);
    return hook.stack;
}

#define WIPED 128 /* words: more than the frames of booking an event */

__attribute__((noinline)) void hook_wipe_stack(void) {
    uintptr_t words[WIPED];
    memset(words, 0, sizeof words);
    __asm__ volatile("" : : "r"(words) : "memory"); /* the stores count, though nobody reads them */
}
