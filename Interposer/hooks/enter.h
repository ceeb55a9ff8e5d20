/*
 * Entering hooks by the long way, and the stack that called one.
 */
#ifndef HEAPSUM_ENTER_H
#define HEAPSUM_ENTER_H

#include "threads/hook.h"

/*
 * Enters any hook, whose return address is `caller`. False: the call is passed through, unbooked. Hooks of this thread
 * that a longjmp left without an end are recognized by their frames, and settled.
 */
bool hook_enter(struct hook *hook, uintptr_t frame, uintptr_t caller);

/* Finds the number of the stack that called the hook, into hook->stack. Keeps errno. */
void hook_stack(struct hook *hook);

#endif
