/*
 * jemalloc's own functions (jemalloc(3), "Non-standard API"). What only asks (sallocx, nallocx, mallctl) is not
 * interposed; an arena that is destroyed by mallctl takes its blocks with it unseen.
 */
#include "allocators/allocator.h"

const char allocator_own_file[] = "libheapsum-jemalloc.so", allocator_file[] = "libjemalloc.so";

EXPORT void *mallocx(size_t bytes, int flags) {
    NEXT(void *(*)(size_t, int), mallocx);
    void *block;
    ALLOCATE(block, bytes, real(bytes, flags), ENOMEM);
    return block;
}

EXPORT void *rallocx(void *block, size_t bytes, int flags) {
    NEXT(void *(*)(void *, size_t, int), rallocx);
    void *moved;
    REALLOCATE(moved, block, bytes, real(block, bytes, flags), false);
    return moved;
}

/* Grows or shrinks a block where it is, to `bytes` at least and `extra` more if that is easy. What it answers is the
 * block's real size: less than `bytes` where it stayed as it was. */
EXPORT size_t xallocx(void *block, size_t bytes, size_t extra, int flags) {
    NEXT(size_t(*)(void *, size_t, size_t, int), xallocx);
    struct hook hook;
    if (block == NULL || !allocator_enter(&hook, HOOK_FRAME, HOOK_CALLER, true))
        return real(block, bytes, extra, flags);
    struct reallocation old = heapsum_booking.realloc_begin(&hook, block);
    size_t held = real(block, bytes, extra, flags);
    bool resized = held >= bytes;
    heapsum_booking.realloc_end(
        &hook, &old, resized ? block : NULL, held - bytes < extra ? held : bytes + extra, false);
    heapsum_booking.leave(&hook);
    return held;
}

EXPORT void dallocx(void *block, int flags) {
    NEXT(void (*)(void *, int), dallocx);
    FREE(block, real(block, flags));
}

EXPORT void sdallocx(void *block, size_t bytes, int flags) {
    NEXT(void (*)(void *, size_t, int), sdallocx);
    FREE(block, real(block, bytes, flags));
}
