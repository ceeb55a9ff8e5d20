/*
 * operator new and delete.
 *
 * libstdc++'s and libc++'s call malloc and free, whose hooks book; here they only pass, and the unwinder
 * leaves the runtime's frame between the two hooks out of the stack. An allocator that brings operators of its own
 * (jemalloc, tcmalloc, mimalloc) allocates in them, so they are booked here, once, and what they call inside is passed.
 *
 * An exception may fly through here (std::bad_alloc): no state is held that would need undoing, but a
 * hook's level, which the next hook settles.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "atomics.h"
#include "book.h"
#include "hook.h"
#include "marks.h"
#include "next.h"

/* The next operator, found at its first call. Without one (nobody linked a C++ runtime, yet somebody calls) malloc and free do. */
#define NEXT(type, name) \
    static struct next_operator found; \
    __typeof__(type) real = (__typeof__(type))next_operator(#name, &found, HOOK_CALLER)

#define NEW(name, parameters, arguments) \
    EXPORT void *name parameters { \
        NEXT(void *(*)parameters, name); \
        if (unlikely(real == NULL)) return malloc(bytes); \
        struct hook hook; \
        if (likely(!found.brings_own) || !hook_enter(&hook, HOOK_FRAME, HOOK_CALLER)) { \
            void *block = real arguments; \
            __asm__ volatile("" ::: "memory"); /* no tail call: our frame tells the unwinder what to leave out */ \
            return block; \
        } \
        hook_stack(&hook); \
        void *block = real arguments; \
        if (likely(block != NULL)) book_allocation(&hook, block, bytes); \
        else marks_failed(ENOMEM); /* only of the nothrow ones: the others throw past us */ \
        hook_leave(&hook); \
        return block; \
    }

NEW(_Znwm, (size_t bytes), (bytes))
NEW(_Znam, (size_t bytes), (bytes))
NEW(_ZnwmRKSt9nothrow_t, (size_t bytes, nothrow_t nothrow), (bytes, nothrow))
NEW(_ZnamRKSt9nothrow_t, (size_t bytes, nothrow_t nothrow), (bytes, nothrow))
NEW(_ZnwmSt11align_val_t, (size_t bytes, align_val_t alignment), (bytes, alignment))
NEW(_ZnamSt11align_val_t, (size_t bytes, align_val_t alignment), (bytes, alignment))
NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t bytes, align_val_t alignment, nothrow_t nothrow), (bytes, alignment, nothrow))
NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t bytes, align_val_t alignment, nothrow_t nothrow), (bytes, alignment, nothrow))

#define DELETE(name, parameters, arguments) \
    EXPORT void name parameters { \
        NEXT(void (*)parameters, name); \
        if (unlikely(real == NULL)) { \
            free(block); \
            return; \
        } \
        struct hook hook; \
        if (likely(!found.brings_own) || block == NULL || !hook_enter(&hook, HOOK_FRAME, HOOK_CALLER)) { \
            real arguments; \
            return; \
        } \
        book_free(&hook, block); \
        real arguments; \
        hook_leave(&hook); \
    }

DELETE(_ZdlPv, (void *block), (block))
DELETE(_ZdaPv, (void *block), (block))
DELETE(_ZdlPvRKSt9nothrow_t, (void *block, nothrow_t nothrow), (block, nothrow))
DELETE(_ZdaPvRKSt9nothrow_t, (void *block, nothrow_t nothrow), (block, nothrow))
DELETE(_ZdlPvm, (void *block, size_t bytes), (block, bytes))
DELETE(_ZdaPvm, (void *block, size_t bytes), (block, bytes))
DELETE(_ZdlPvSt11align_val_t, (void *block, align_val_t alignment), (block, alignment))
DELETE(_ZdaPvSt11align_val_t, (void *block, align_val_t alignment), (block, alignment))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, (void *block, align_val_t alignment, nothrow_t nothrow), (block, alignment, nothrow))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, (void *block, align_val_t alignment, nothrow_t nothrow), (block, alignment, nothrow))
DELETE(_ZdlPvmSt11align_val_t, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
DELETE(_ZdaPvmSt11align_val_t, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
