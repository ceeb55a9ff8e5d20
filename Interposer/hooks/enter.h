/*
 * Entering hooks in the general case, and finding the stack that called one.
 */
#ifndef HEAPSUM_ENTER_H
#define HEAPSUM_ENTER_H

#include "threads/hook.h"

/*
 * Enters a hook whose return address is `caller`. False: pass the call on, and book nothing. Hooks of this thread that
 * a longjmp abandoned are recognized by their frames, and ended here. Async-signal-safe.
 */
bool hook_enter(struct hook *hook, uintptr_t frame, uintptr_t caller);

/* Sets hook->stack to the number of the stack that called the hook. Keeps errno. */
void hook_stack(struct hook *hook);

#endif
