/*
 * Entering hooks in the general case, and finding the stack that called one.
 */
#ifndef HEAPSUM_ENTER_H
#define HEAPSUM_ENTER_H

#include "base/next.h"
#include "threads/hook.h"

/*
 * Enters a hook whose return address is `caller`. False: pass the call on, and book nothing. Hooks of this thread that
 * a longjmp abandoned are recognized by their frames, and ended here. Async-signal-safe.
 */
bool hook_enter(struct hook *hook, struct machine_frame frame, uintptr_t caller);

/* Overwrites some of the stack below the caller's frame, where callees have left addresses of blocks. */
void hook_wipe_stack(void);

/*
 * At the end of a hook in the general case. A sanitizer that looks for leaks takes words on the stack for pointers,
 * those too that lie in parts of a frame which were never written. An address that a hook left there hides a leak.
 */
static inline void hook_wipe(void) {
    if (unlikely(next.is_sanitizers)) hook_wipe_stack();
}

/* The number of the stack that called a hook that hook_enter_idle entered, however stacks are found. Keeps errno. */
uint32_t hook_stack_of(struct machine_frame frame, uintptr_t caller);

/* Sets hook->stack to the number of the stack that called the hook. Keeps errno. */
void hook_stack(struct hook *hook);

/* The same where the hook was not called, but entered from code at hook->caller with these registers (requests.c). */
void hook_stack_at(struct hook *hook, uintptr_t sp, uintptr_t fp);

#endif
