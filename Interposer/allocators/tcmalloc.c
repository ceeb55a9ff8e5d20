/*
 * tcmalloc's own names (gperftools/tcmalloc.h), which do what malloc, operator new and their families do. What only
 * asks (tc_malloc_size, tc_nallocx, tc_mallinfo) is not interposed.
 */
#include "allocators/allocator.h"
#include "base/next.h"

const char allocator_own_file[] = "libheapsum-tcmalloc.so", allocator_file[] = "libtcmalloc";

#define MAKE(name, parameters, bytes, arguments) \
    EXPORT void *name parameters { \
        NEXT(void *(*)parameters, name); \
        void *block; \
        ALLOCATE(block, bytes, real arguments, ENOMEM); \
        return block; \
    }

MAKE(tc_malloc, (size_t bytes), bytes, (bytes))
MAKE(tc_malloc_skip_new_handler, (size_t bytes), bytes, (bytes))
MAKE(tc_calloc, (size_t count, size_t size), count *size, (count, size))
MAKE(tc_memalign, (size_t alignment, size_t bytes), bytes, (alignment, bytes))
MAKE(tc_valloc, (size_t bytes), bytes, (bytes))
MAKE(tc_pvalloc, (size_t bytes), bytes, (bytes))
MAKE(tc_new, (size_t bytes), bytes, (bytes))
MAKE(tc_newarray, (size_t bytes), bytes, (bytes))
MAKE(tc_new_nothrow, (size_t bytes, nothrow_t nothrow), bytes, (bytes, nothrow))
MAKE(tc_newarray_nothrow, (size_t bytes, nothrow_t nothrow), bytes, (bytes, nothrow))
MAKE(tc_new_aligned, (size_t bytes, align_val_t alignment), bytes, (bytes, alignment))
MAKE(tc_newarray_aligned, (size_t bytes, align_val_t alignment), bytes, (bytes, alignment))
MAKE(tc_new_aligned_nothrow, (size_t bytes, align_val_t alignment, nothrow_t nothrow), bytes,
    (bytes, alignment, nothrow))
MAKE(tc_newarray_aligned_nothrow, (size_t bytes, align_val_t alignment, nothrow_t nothrow), bytes,
    (bytes, alignment, nothrow))

EXPORT int tc_posix_memalign(void **to, size_t alignment, size_t bytes) {
    NEXT(int (*)(void **, size_t, size_t), tc_posix_memalign);
    void *block;
    int result;
    ALLOCATE(block, bytes, (result = real(to, alignment, bytes)) == 0 ? *to : NULL, result);
    return result;
}

EXPORT void *tc_realloc(void *block, size_t bytes) {
    NEXT(void *(*)(void *, size_t), tc_realloc);
    void *moved;
    REALLOCATE(moved, block, bytes, real(block, bytes), true);
    return moved;
}

#define GIVE_BACK(name, parameters, arguments) \
    EXPORT void name parameters { \
        NEXT(void(*) parameters, name); \
        FREE(block, real arguments); \
    }

GIVE_BACK(tc_free, (void *block), (block))
GIVE_BACK(tc_cfree, (void *block), (block))
GIVE_BACK(tc_free_sized, (void *block, size_t bytes), (block, bytes))
GIVE_BACK(tc_delete, (void *block), (block))
GIVE_BACK(tc_deletearray, (void *block), (block))
GIVE_BACK(tc_delete_sized, (void *block, size_t bytes), (block, bytes))
GIVE_BACK(tc_deletearray_sized, (void *block, size_t bytes), (block, bytes))
GIVE_BACK(tc_delete_nothrow, (void *block, nothrow_t nothrow), (block, nothrow))
GIVE_BACK(tc_deletearray_nothrow, (void *block, nothrow_t nothrow), (block, nothrow))
GIVE_BACK(tc_delete_aligned, (void *block, align_val_t alignment), (block, alignment))
GIVE_BACK(tc_deletearray_aligned, (void *block, align_val_t alignment), (block, alignment))
GIVE_BACK(tc_delete_sized_aligned, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
GIVE_BACK(tc_deletearray_sized_aligned, (void *block, size_t bytes, align_val_t alignment), (block, bytes, alignment))
GIVE_BACK(
    tc_delete_aligned_nothrow, (void *block, align_val_t alignment, nothrow_t nothrow), (block, alignment, nothrow))
GIVE_BACK(tc_deletearray_aligned_nothrow, (void *block, align_val_t alignment, nothrow_t nothrow),
    (block, alignment, nothrow))
