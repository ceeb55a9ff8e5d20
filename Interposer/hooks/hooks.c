/*
 * C's allocation functions. Each books one event around a call of the next function, and otherwise behaves as that
 * function: same results, same errno, same undefined behaviour.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "hooks/booked_call.h"

REST_OF_HOOK void *malloc_otherwise(size_t bytes) {
    void *block;
    ALLOCATE_OTHERWISE(block, bytes, arena_allocate(bytes, 16), next.malloc(bytes), errno);
    return block;
}

REST_OF_HOOK void *malloc_plainly(size_t bytes) {
    if (unlikely(!hook_enter_idle(HOOK_FRAME))) return malloc_otherwise(bytes);
    void *block;
    ALLOCATE_PLAINLY(block, bytes, next.malloc(bytes), errno);
    return block;
}

REST_OF_HOOK void *malloc_inside(size_t bytes) {
    PASS_INSIDE(bytes, next.malloc(bytes), errno);
    return malloc_otherwise(bytes);
}

EXPORT void *malloc(size_t bytes) {
    const uint64_t word = hook_word();
    if (hook_is_asleep(word)) return next.malloc(bytes);
    if (hook_is_plain(word)) return malloc_plainly(bytes);
    if (sample_passes(word, bytes)) return next.malloc(bytes);
    return hook_is_sampled(word) ? malloc_inside(bytes) : malloc_otherwise(bytes);
}

REST_OF_HOOK void *calloc_otherwise(size_t count, size_t size) {
    void *block;
    size_t bytes;
    /* on overflow the next calloc fails. The arena is zeroed, and never reuses memory. */
    bool fits = !__builtin_mul_overflow(count, size, &bytes);
    ALLOCATE_OTHERWISE(block, bytes, fits ? arena_allocate(bytes, 16) : NULL, next.calloc(count, size), errno);
    return block;
}

/* Where the product overflows, the next calloc fails. */
REST_OF_HOOK void *calloc_plainly(size_t count, size_t size) {
    if (unlikely(!hook_enter_idle(HOOK_FRAME))) return calloc_otherwise(count, size);
    void *block;
    ALLOCATE_PLAINLY(block, count * size, next.calloc(count, size), errno);
    return block;
}

REST_OF_HOOK void *calloc_inside(size_t count, size_t size) {
    PASS_INSIDE(count * size, next.calloc(count, size), errno);
    return calloc_otherwise(count, size);
}

EXPORT void *calloc(size_t count, size_t size) {
    const uint64_t word = hook_word();
    if (hook_is_asleep(word)) return next.calloc(count, size);
    if (hook_is_plain(word)) return calloc_plainly(count, size);
    if (sample_passes(word, count * size)) return next.calloc(count, size);
    return hook_is_sampled(word) ? calloc_inside(count, size) : calloc_otherwise(count, size);
}

HOOK void *hook_memalign(size_t alignment, size_t bytes) {
    void *block;
    ALLOCATE(block, bytes, arena_allocate(bytes, alignment), next.memalign(alignment, bytes), errno);
    return block;
}

HOOK void *hook_aligned_alloc(size_t alignment, size_t bytes) {
    void *block;
    ALLOCATE(block, bytes, arena_allocate(bytes, alignment), next.aligned_alloc(alignment, bytes), errno);
    return block;
}

HOOK int hook_posix_memalign(void **to, size_t alignment, size_t bytes) {
    void *block = NULL;
    int result = ENOMEM;
    /* only the next function writes `*to` */
    ALLOCATE(block, bytes, (*to = arena_allocate(bytes, alignment)),
        (result = next.posix_memalign(to, alignment, bytes)) == 0 ? *to : NULL, result);
    return block != NULL ? 0 : result;
}

/* So early, the size of a page is not known yet: the largest that a kernel may have serves. */
HOOK void *hook_valloc(size_t bytes) {
    void *block;
    ALLOCATE(block, bytes, arena_allocate(bytes, MACHINE_PAGE_MOST), next.valloc(bytes), errno);
    return block;
}

HOOK void *hook_pvalloc(size_t bytes) {
    void *block;
    const size_t page = MACHINE_PAGE_MOST, whole = bytes > ARENA_BYTES ? bytes : (bytes + page - 1) / page * page;
    ALLOCATE(block, bytes, arena_allocate(whole, page), next.pvalloc(bytes), errno);
    return block;
}

REST_OF_HOOK void free_otherwise(void *block) {
    if (block == NULL || arena_owns(block)) return;
    const uint64_t word = hook_word();
    if (!hook_is_plain(word) && sample_is_on(word) && book_knows_none(block)) next.free(block);
    else FREE_OTHERWISE(block, next.free(block));
}

REST_OF_HOOK void free_plainly(void *block) {
    if (block == NULL) return;
    if (unlikely(!hook_enter_idle(HOOK_FRAME))) free_otherwise(block);
    else FREE_PLAINLY(block, next.free(block));
}

EXPORT void free(void *block) {
    const uint64_t word = hook_word();
    if (hook_is_asleep(word)) {
        next.free(block);
        return;
    }
    if (hook_is_plain(word)) free_plainly(block);
    else if (hook_is_sampled(word) && !drawn_may_be_near(block)) next.free(block);
    else free_otherwise(block);
}

HOOK void hook_cfree(void *block) { FREE(block, next.free(block)); }

HOOK void hook_free_sized(void *block, size_t bytes) {
    FREE(block, next.free_sized != NULL ? next.free_sized(block, bytes) : next.free(block));
}

HOOK void hook_free_aligned_sized(void *block, size_t alignment, size_t bytes) {
    FREE(block, next.free_aligned_sized != NULL ? next.free_aligned_sized(block, alignment, bytes) : next.free(block));
}

/* Moves a block from the arena to the allocator, which came later. */
static void *move_from_arena(void *block, size_t bytes) {
    void *moved;
    ALLOCATE(moved, bytes, arena_allocate(bytes, 16), next.malloc(bytes), errno);
    size_t held = arena_size(block);
    if (moved != NULL) memcpy(moved, block, bytes < held ? bytes : held);
    return moved;
}

/* Shared by realloc and reallocarray. It handles two blocks' addresses for so long that one may be left in a register
 * that nothing overwrites until the program crashes. `heapsum leaks` takes registers for the program's pointers. */
REST_OF_HOOK LEAVES_NO_ADDRESS void *reallocate_booked(void *block, size_t bytes) {
    if (block != NULL && unlikely(arena_owns(block))) return move_from_arena(block, bytes);
    struct hook hook = {.frame = HOOK_FRAME};
    bool books = true;
    if (likely(hook_enter_plainly(HOOK_FRAME))) {
        hook.stack = unwind_plainly(HOOK_FRAME);
    } else if (hook_enter_sampled(HOOK_FRAME)) {
        sample_age();
        books = sample_books(bytes);
        if (books) hook.stack = hook_stack_of(HOOK_FRAME, HOOK_CALLER);
    } else {
        if (start_is_early()) {
            start_miss();
            /* a block that is not the arena's can't be moved: its allocator isn't known yet */
            return block == NULL ? arena_allocate(bytes, 16) : NULL;
        }
        if (!ENTER(hook)) return next.realloc(block, bytes);
        sample_age();
        books = sample_books(bytes);
        if (books) hook_stack(&hook);
    }
    void *moved;
    if (block == NULL) {
        moved = next.realloc(NULL, bytes);
        if (likely(moved != NULL) && likely(books)) book_allocation(&hook, moved, bytes);
    } else {
        struct reallocation old = book_realloc_begin(&hook, block);
        moved = next.realloc(block, bytes);
        /* NULL for 0 bytes: glibc has freed the block. NULL for more is a failure, and the block stays. */
        if (likely(books)) book_realloc_end(&hook, &old, moved, bytes, moved == NULL && bytes == 0);
        else book_realloc_end(&hook, &old, NULL, 0, moved != NULL || bytes == 0); /* the old block is gone, no more */
    }
    if (unlikely(moved == NULL) && bytes != 0) marks_failed(errno);
    hook_leave(&hook);
    hook_wipe();
    return moved;
}

REST_OF_HOOK void *reallocate_inside(void *block, size_t bytes) {
    PASS_INSIDE(bytes, next.realloc(block, bytes), errno);
    return reallocate_booked(block, bytes);
}

static inline __attribute__((always_inline)) void *reallocate(void *block, size_t bytes) {
    const uint64_t word = hook_word();
    if (hook_is_asleep(word)) return next.realloc(block, bytes);
    if (likely(hook_is_plain(word))) return reallocate_booked(block, bytes);
    if (sample_is_on(word) && (block == NULL || (!arena_owns(block) && book_knows_none(block)))
        && sample_passes(word, bytes))
        return next.realloc(block, bytes);
    if (hook_is_sampled(word) && (block == NULL || !drawn_may_be_near(block))) return reallocate_inside(block, bytes);
    return reallocate_booked(block, bytes);
}

EXPORT void *realloc(void *block, size_t bytes) { return reallocate(block, bytes); }

/* Implemented with realloc: glibc's own reallocarray calls the interposed realloc, and would be booked twice. */
HOOK void *hook_reallocarray(void *block, size_t count, size_t size) {
    size_t bytes;
    if (likely(!__builtin_mul_overflow(count, size, &bytes))) return reallocate(block, bytes);
    if (!start_is_early()) errno = ENOMEM; /* errno may not exist this early */
    return NULL;
}
