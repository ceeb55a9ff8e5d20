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
#include "threads/sample.h"

/*
 * In a sampled recording nearly all calls of the common functions pass before a hook is entered. The other calls reach
 * the rest of the hook by a tail call, a jump: so the rest still has the program's own caller, and the common functions
 * need no frame and save no registers. An exact recording has a rest of its own, and pays nothing for sampling but that
 * jump.
 */
#define REST_OF_HOOK static __attribute__((noinline))

/* A function that returns with zeroes in the registers that it may change. Before GCC 11 it leaves what is there. */
#if defined(__has_attribute) && __has_attribute(zero_call_used_regs)
#define LEAVES_NO_ADDRESS __attribute__((zero_call_used_regs("all-gpr")))
#else
#define LEAVES_NO_ADDRESS
#endif

#define ENTER(hook) hook_enter(&(hook), HOOK_FRAME, HOOK_CALLER)

/*
 * Finds the stack, calls the next function, and books the block that it returns. In a sampled recording only if the
 * allocation is drawn. `early`: the value for a call before there is a next function; `reason`: the errno of a failure.
 */
#define ALLOCATE(block, bytes, early, call, reason) \
    do { \
        if (likely(hook_enter_plainly(HOOK_FRAME))) ALLOCATE_PLAINLY(block, bytes, call, reason); \
        else ALLOCATE_OTHERWISE(block, bytes, early, call, reason); \
    } while (0)

/* In a hook that hook_enter_idle entered. */
#define ALLOCATE_PLAINLY(block, bytes, call, reason) \
    do { \
        const uint32_t stack = unwind_plainly(HOOK_FRAME); \
        (block) = (call); \
        if (likely((block) != NULL)) book_plain_allocation((block), (bytes), stack); \
        else marks_failed(reason); \
        hook_leave_plainly(); \
    } while (0)

/* In a hook that hook_enter_sampled entered. */
#define ALLOCATE_SAMPLED(block, bytes, call, reason) \
    do { \
        const bool books = sample_draws(bytes); \
        const uint32_t stack = unlikely(books) ? hook_stack_of(HOOK_FRAME, HOOK_CALLER) : 0; \
        (block) = (call); \
        if (unlikely((block) == NULL)) marks_failed(reason); \
        else if (unlikely(books)) book_sampled_allocation((block), (bytes), stack); \
        hook_leave_plainly(); \
    } while (0)

/*
 * With another allocator than glibc a call passes inside a hook, so that what it calls is not drawn again. Returns the
 * block if the allocation passes; otherwise the hook has been left, and the next statement runs. The function around
 * this does nothing else, and so saves few registers.
 */
#define PASS_INSIDE(bytes, call, reason) \
    do { \
        if (unlikely(!hook_enter_idle(HOOK_FRAME))) break; \
        if (unlikely(!sample_passes_inside(bytes))) { \
            hook_leave_plainly(); \
            break; \
        } \
        void *block_ = (call); \
        if (unlikely(block_ == NULL)) marks_failed(reason); \
        hook_leave_plainly(); \
        return block_; \
    } while (0)

#define ALLOCATE_OTHERWISE(block, bytes, early, call, reason) \
    do { \
        if (hook_enter_sampled(HOOK_FRAME)) { \
            ALLOCATE_SAMPLED(block, bytes, call, reason); \
            break; \
        } \
        if (hook_is_asleep(hook_word())) { \
            (block) = (call); \
            break; \
        } \
        if (start_is_early()) { \
            start_miss(); \
            (block) = (early); \
            break; \
        } \
        struct hook hook; \
        const bool entered = ENTER(hook), books = entered && sample_books(bytes); \
        if (books) hook_stack(&hook); \
        (block) = (call); \
        if (entered) { \
            if ((block) == NULL) marks_failed(reason); \
            else if (books) book_allocation(&hook, (block), (bytes)); \
            hook_leave(&hook); \
            hook_wipe(); \
        } \
    } while (0)

/* Books a free, under any of its names, then calls `real`. A block freed before the next free is known stays allocated.
 */
#define FREE(block, real) \
    do { \
        if ((block) == NULL) break; \
        if (likely(hook_enter_plainly(HOOK_FRAME))) FREE_PLAINLY(block, real); \
        else FREE_OTHERWISE(block, real); \
    } while (0)

/* The same for a free. */
#define FREE_PLAINLY(block, real) \
    do { \
        if (likely(book_plain_free(block))) real; \
        hook_leave_plainly(); \
    } while (0)

#define FREE_OTHERWISE(block, real) \
    do { \
        if (hook_enter_sampled(HOOK_FRAME)) { \
            sample_age(); \
            if (likely(book_sampled_free(block))) real; \
            hook_leave_plainly(); \
            break; \
        } \
        if (hook_is_asleep(hook_word())) { \
            real; \
            break; \
        } \
        if (arena_owns(block) || start_is_early()) break; \
        struct hook hook; \
        bool entered = ENTER(hook); \
        if (entered) { \
            sample_age(); \
            book_free(&hook, (block)); \
        } \
        real; \
        if (entered) hook_leave(&hook); \
        hook_wipe(); \
    } while (0)

#endif
