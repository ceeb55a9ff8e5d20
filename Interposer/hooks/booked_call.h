/*
 * A call of the next function with what is booked around it, as statements in the hook itself: its frame is where the
 * unwinding begins.
 */
#ifndef HEAPSUM_BOOKED_CALL_H
#define HEAPSUM_BOOKED_CALL_H

#include <stddef.h>

#include "base/arena.h"
#include "base/atomics.h"
#include "base/next.h"
#include "book/book.h"
#include "book/plain.h"
#include "hooks/enter.h"
#include "process/marks.h"
#include "process/start.h"
#include "stacks/unwind.h"

#define ENTER(hook) hook_enter(&(hook), HOOK_FRAME, HOOK_CALLER)

/* Books what the next function makes: from the stack, which is found before the call, to the slot, behind it. `early`:
 * what the arena gives; `reason` is of a failure. */
#define ALLOCATE(block, bytes, early, call, reason) \
    do { \
        if (likely(hook_enter_plainly(HOOK_FRAME))) { \
            uint32_t stack = unwind_plainly(HOOK_FRAME); \
            (block) = (call); \
            if (likely((block) != NULL)) book_plain_allocation((block), (bytes), stack); \
            else marks_failed(reason); \
            hook_leave_plainly(); \
            break; \
        } \
        if (start_is_early()) { \
            start_miss(); \
            (block) = (early); \
            break; \
        } \
        struct hook hook; \
        bool entered = ENTER(hook); \
        if (entered) hook_stack(&hook); \
        (block) = (call); \
        if (entered) { \
            if ((block) != NULL) book_allocation(&hook, (block), (bytes)); \
            else marks_failed(reason); \
            hook_leave(&hook); \
        } \
    } while (0)

/* A free, whichever name it was called by; `real` frees. What comes before there is anybody to free it stays. */
#define FREE(block, real) \
    do { \
        if ((block) == NULL || unlikely(arena_owns(block))) break; \
        if (likely(hook_enter_plainly(HOOK_FRAME))) { \
            book_plain_free(block); \
            real; \
            hook_leave_plainly(); \
            break; \
        } \
        if (start_is_early()) break; \
        struct hook hook; \
        bool entered = ENTER(hook); \
        if (entered) book_free(&hook, (block)); \
        real; \
        if (entered) hook_leave(&hook); \
    } while (0)

#endif
