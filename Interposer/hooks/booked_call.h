/*
 * A call of the next function and the booking around it. Macros, because unwinding begins at the hook's own frame.
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

/* Finds the stack, calls the next function, and books the block that it returns. `early`: the value for a call before
 * there is a next function; `reason`: the errno of a failure. */
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

/* Books a free, under any of its names, then calls `real`. A block freed before the next free is known stays allocated.
 */
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
