/*
 * operator new and delete.
 *
 * The operators of libstdc++ and libc++ call malloc and free, and the hooks of those book. In that case the hooks here
 * only pass the call on, and the unwinder leaves the runtime's frame between the two hooks out of the stack. The
 * operators of an allocator that brings its own (jemalloc, tcmalloc, mimalloc) allocate by themselves, so they are
 * booked here, once; calls that they make inside are not booked.
 *
 * An exception (std::bad_alloc) may pass through here. The only state to undo is the hook's level, and the next hook
 * does that.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "hooks/booked_call.h"

/* The next operator for this caller. If there is none (no C++ runtime is loaded), the C functions serve. */
static __attribute__((noinline)) void *scoped_operator(enum operator_number number, uintptr_t caller) {
    if (start_is_early()) return NULL;
    void *function = next_operators[number].function;
    if (function == NULL) {
        /* A runtime's operator that jumps to another makes our hook seem to be the caller; use the first operator. */
        if (caller_is_own(caller) && local.runtime_operator != 0) caller = local.runtime_operator;
        function = next_scoped_operator(number, caller);
        local.runtime_operator = (uintptr_t)function;
    }
    if (function != NULL) callers_know(&callers.runtime, (uintptr_t)function);
    return function;
}

#define KNOWN(type, name) ((__typeof__(type))next_operators[OPERATOR##name].function)
#define NEXT(type, name) \
    __typeof__(type) real = KNOWN(type, name); \
    if (unlikely(real == NULL)) real = (__typeof__(type))scoped_operator(OPERATOR##name, HOOK_CALLER)
#define BRINGS_OWN(name) (next_operators[OPERATOR##name].brings_own)

/* A dormant library passes on each call at once; the rest is a function of its own (booked_call.h). */
#define NEW(name, parameters, arguments, otherwise) \
    REST_OF_HOOK void *rest_of##name parameters { \
        NEXT(void *(*)parameters, name); \
        if (unlikely(real == NULL)) { \
            void *block; \
            ALLOCATE(block, bytes, arena_allocate(bytes, 64), otherwise, errno); \
            return block; \
        } \
        if (BRINGS_OWN(name)) { \
            void *block; \
            if (hook_enter_plainly(HOOK_FRAME)) { \
                ALLOCATE_PLAINLY(block, bytes, real arguments, ENOMEM); \
                return block; \
            } \
            if (hook_enter_sampled(HOOK_FRAME)) { \
                ALLOCATE_SAMPLED(block, bytes, real arguments, ENOMEM); \
                return block; \
            } \
        } \
        struct hook hook; \
        if (likely(!BRINGS_OWN(name)) || !hook_enter(&hook, HOOK_FRAME, HOOK_CALLER)) { \
            void *block = real arguments; \
            __asm__ volatile("" ::: "memory"); /* no tail call: our frame tells the unwinder what to leave out */ \
            return block; \
        } \
        const bool books = sample_books(bytes); \
        if (likely(books)) hook_stack(&hook); \
        void *block = real arguments; \
        if (unlikely(block == NULL)) marks_failed(ENOMEM); /* only nothrow operators: the others throw past us */ \
        else if (likely(books)) book_allocation(&hook, block, bytes); \
        hook_leave(&hook); \
        hook_wipe(); \
        return block; \
    } \
    REST_OF_HOOK void *inside##name parameters { \
        void *(*real)parameters = KNOWN(void *(*)parameters, name); \
        if (real != NULL && BRINGS_OWN(name)) PASS_INSIDE(bytes, real arguments, ENOMEM); \
        return rest_of##name arguments; \
    } \
    EXPORT void *name parameters { \
        const uint64_t word = hook_word(); \
        if (hook_is_asleep(word)) { \
            void *(*real)parameters = KNOWN(void *(*)parameters, name); \
            if (likely(real != NULL)) return real arguments; \
        } \
        return hook_is_sampled(word) ? inside##name arguments : rest_of##name arguments; \
    }

NEW(_Znwm, (size_t bytes), (bytes), next.malloc(bytes))
NEW(_Znam, (size_t bytes), (bytes), next.malloc(bytes))
NEW(_ZnwmRKSt9nothrow_t, (size_t bytes, nothrow_t nothrow), (bytes, nothrow), next.malloc(bytes))
NEW(_ZnamRKSt9nothrow_t, (size_t bytes, nothrow_t nothrow), (bytes, nothrow), next.malloc(bytes))
NEW(_ZnwmSt11align_val_t, (size_t bytes, align_val_t alignment), (bytes, alignment),
    next.aligned_alloc(alignment, bytes))
NEW(_ZnamSt11align_val_t, (size_t bytes, align_val_t alignment), (bytes, alignment),
    next.aligned_alloc(alignment, bytes))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t bytes, align_val_t alignment, nothrow_t nothrow),
    (bytes, alignment, nothrow), next.aligned_alloc(alignment, bytes))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t bytes, align_val_t alignment, nothrow_t nothrow),
    (bytes, alignment, nothrow), next.aligned_alloc(alignment, bytes))

#define DELETE(name, parameters, arguments) \
    REST_OF_HOOK void rest_of##name parameters { \
        NEXT(void(*) parameters, name); \
        if (unlikely(real == NULL)) { \
            FREE(block, next.free(block)); \
            return; \
        } \
        if (BRINGS_OWN(name) && block != NULL && hook_enter_plainly(HOOK_FRAME)) { \
            FREE_PLAINLY(block, real arguments); \
            return; \
        } \
        struct hook hook; \
        if (likely(!BRINGS_OWN(name)) || block == NULL || !hook_enter(&hook, HOOK_FRAME, HOOK_CALLER)) { \
            real arguments; \
            return; \
        } \
        sample_age(); \
        book_free(&hook, block); \
        real arguments; \
        hook_leave(&hook); \
        hook_wipe(); \
    } \
    EXPORT void name parameters { \
        const uint64_t word = hook_word(); \
        if (hook_is_asleep(word) || (hook_is_sampled(word) && !drawn_may_be_near(block))) { \
            void(*real) parameters = KNOWN(void(*) parameters, name); \
            if (likely(real != NULL)) { \
                real arguments; \
                return; \
            } \
        } \
        rest_of##name arguments; \
    }

DELETE(_ZdlPv, (void *block), (block))
DELETE(_ZdaPv, (void *block), (block))
DELETE(_ZdlPvRKSt9nothrow_t, (void *block, nothrow_t nothrow), (block, nothrow))
DELETE(_ZdaPvRKSt9nothrow_t, (void *block, nothrow_t nothrow), (block, nothrow))
DELETE(_ZdlPvm, (void *block, size_t bytes), (block, bytes))
DELETE(_ZdaPvm, (void *block, size_t bytes), (block, bytes))
DELETE(_ZdlPvSt11align_val_t, (void *block, align_val_t alignment), (block, alignment))
DELETE(_ZdaPvSt11align_val_t, (void *block, align_val_t alignment), (block, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, align_val_t alignment, nothrow_t nothrow),
    (block, alignment, nothrow))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, align_val_t alignment, nothrow_t nothrow),
    (block, alignment, nothrow))
DELETE(_ZdlPvmSt11align_val_t, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
