/*
 * What the libraries for allocators' own functions share. Such a library interposes names that malloc's family doesn't
 * have (jemalloc's mallocx, tcmalloc's tc_malloc), and books by libheapsum.so, which is preloaded before it.
 *
 * Programs find out by weak symbols whether an allocator is there; so these names may be where that allocator is, and
 * nowhere else. heaprun preloads the library into such a program, and the program's children don't inherit it: it takes
 * itself out of LD_PRELOAD, but where the allocator stands in there too.
 *
 * Each library has allocator.c in it, and says in the two constants below whose it is.
 */
#ifndef HEAPSUM_ALLOCATOR_H
#define HEAPSUM_ALLOCATOR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "hooks/booking.h"

extern const char allocator_own_file[]; /* the library's name */
extern const char allocator_file[];     /* how the allocator's begins */

/* Weak: without libheapsum.so, or with another build's, all calls are only passed on. */
extern const struct heapsum_booking heapsum_booking __attribute__((weak, visibility("default")));

static inline bool allocator_can_book(void) {
    return &heapsum_booking != NULL && heapsum_booking.version == BOOKING_VERSION;
}

static inline bool allocator_enter(struct hook *hook, struct machine_frame frame, uintptr_t caller, bool allocates) {
    return allocator_can_book() && heapsum_booking.enter(hook, frame, caller, allocates);
}

/* The allocator's function of this name, found at the first call and kept in `*found`. heaprun has seen to it that
 * there is one. */
static inline void *allocator_function(const char *name, void **found) {
    void *function = load_acquire(found); /* partner: the release below */
    if (likely(function != NULL)) return function;
    loader_start();               /* the allocator may call itself by its own names before our constructor comes */
    function = loader_next(name); /* the allocator is of the start, and never goes */
    store_release(found, function);
    return function;
}

#define NEXT(type, name) \
    static void *found; \
    __typeof__(type) real = (__typeof__(type))allocator_function(#name, &found)

/* Books what the allocator's function makes. An exception may fly through: as in hooks_cxx.c, nothing but the hook's
 * level is held. */
#define ALLOCATE(block, bytes, call, reason) \
    do { \
        struct hook hook; \
        bool entered = allocator_enter(&hook, HOOK_FRAME, HOOK_CALLER, true); \
        (block) = (call); \
        if (entered) { \
            if (likely((block) != NULL)) heapsum_booking.allocation(&hook, (block), (bytes)); \
            else heapsum_booking.failed(reason); \
            heapsum_booking.leave(&hook); \
        } \
    } while (0)

#define FREE(block, call) \
    do { \
        struct hook hook; \
        bool entered = (block) != NULL && allocator_enter(&hook, HOOK_FRAME, HOOK_CALLER, false); \
        if (entered) heapsum_booking.free(&hook, (block)); \
        call; \
        if (entered) heapsum_booking.leave(&hook); \
    } while (0)

/* `frees`: whether the function's answer to no bytes is a free, and NULL. */
#define REALLOCATE(moved, block, bytes, call, frees) \
    do { \
        struct hook hook; \
        struct reallocation old = {0}; \
        bool entered = allocator_enter(&hook, HOOK_FRAME, HOOK_CALLER, true); \
        if (entered && (block) != NULL) old = heapsum_booking.realloc_begin(&hook, (block)); \
        (moved) = (call); \
        if (entered) { \
            bool freed = (frees) && (block) != NULL && (moved) == NULL && (bytes) == 0; \
            if ((block) != NULL) heapsum_booking.realloc_end(&hook, &old, (moved), (bytes), freed); \
            else if ((moved) != NULL) heapsum_booking.allocation(&hook, (moved), (bytes)); \
            if ((moved) == NULL && !freed) heapsum_booking.failed(errno); \
            heapsum_booking.leave(&hook); \
        } \
    } while (0)

#endif
