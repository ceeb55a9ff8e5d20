// Uses the functions that an allocator has beside malloc's family: with TCMALLOC tcmalloc's tc_ names, else jemalloc's.
// Each kind leaves 10 blocks of 72 bytes, made in a function of its own, and gives as many back in another way. Prints
// what stands, and the bytes that the resized blocks were asked to have in the end.
//
//   allocator_names             as above
//   allocator_names PROGRAM     the same, and then becomes the program

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <unistd.h>
#ifdef TCMALLOC
#include <gperftools/tcmalloc.h>
#else
#include <jemalloc/jemalloc.h>
#endif

#define LEFT_OF_EACH 10
#include "leave.h"

#ifdef TCMALLOC
static void *aligned() {
    void *block = nullptr;
    return tc_posix_memalign(&block, 64, 72) == 0 ? block : nullptr;
}
LEAVE(malloc, tc_malloc(72), tc_free(block))
LEAVE(skipping, tc_malloc_skip_new_handler(72), tc_free_sized(block, 72))
LEAVE(calloc, tc_calloc(9, 8), tc_cfree(block))
LEAVE(realloc, tc_realloc(tc_realloc(tc_malloc(10), 30000), 72), if (tc_realloc(block, 0) != nullptr) abort())
LEAVE(realloc_null, tc_realloc(nullptr, 72), free(block))
LEAVE(memalign, tc_memalign(64, 72), tc_free(block))
LEAVE(posix_memalign, aligned(), tc_free(block))
LEAVE(valloc, tc_valloc(72), tc_free(block))
LEAVE(pvalloc, tc_pvalloc(72), tc_free(block))
LEAVE(new, tc_new(72), tc_delete(block))
LEAVE(array, tc_newarray(72), tc_deletearray_sized(block, 72))
LEAVE(nothrow, tc_new_nothrow(72, std::nothrow), tc_delete_nothrow(block, std::nothrow))
LEAVE(array_nothrow, tc_newarray_nothrow(72, std::nothrow), tc_deletearray_nothrow(block, std::nothrow))
LEAVE(aligned_new, tc_new_aligned(72, std::align_val_t(64)), tc_delete_sized_aligned(block, 72, std::align_val_t(64)))
LEAVE(aligned_array, tc_newarray_aligned_nothrow(72, std::align_val_t(64), std::nothrow),
    tc_deletearray_aligned(block, std::align_val_t(64)))
LEAVE(foreign, malloc(72), tc_delete_sized(block, 72))

static long run() {
    run_malloc();
    run_skipping();
    run_calloc();
    run_realloc();
    run_realloc_null();
    run_memalign();
    run_posix_memalign();
    run_valloc();
    run_pvalloc();
    run_new();
    run_array();
    run_nothrow();
    run_array_nothrow();
    run_aligned_new();
    run_aligned_array();
    run_foreign();
    volatile std::size_t much = std::size_t(1) << 60;
    // An exception through the hook, and what comes after it.
    try {
        kept[kept_count] = tc_new(much);
    } catch (const std::bad_alloc &) {
        kept[kept_count++] = make_new();
    }
    if (tc_realloc(kept[0], much) != nullptr) abort();
    return 0;
}
#else
LEAVE(mallocx, mallocx(72, 0), dallocx(block, 0))
LEAVE(aligned, mallocx(72, MALLOCX_ALIGN(64) | MALLOCX_ZERO), sdallocx(block, 72, MALLOCX_ALIGN(64)))
LEAVE(rallocx, rallocx(rallocx(mallocx(10, 0), 30000, 0), 72, 0), free(block))
LEAVE(foreign, malloc(72), dallocx(block, MALLOCX_TCACHE_NONE))

__attribute__((noinline)) static void *make_resized(std::size_t bytes) { return mallocx(bytes, 0); }

// In place, where that goes; what a block was asked to have is what it has, up to the most that was asked for.
__attribute__((noinline)) static std::size_t resize(
    void *block, std::size_t old, std::size_t bytes, std::size_t extra) {
    std::size_t held = xallocx(block, bytes, extra, 0);
    if (held < bytes) return old;
    return held < bytes + extra ? held : bytes + extra;
}

static long run() {
    run_mallocx();
    run_aligned();
    run_rallocx();
    run_foreign();
    volatile std::size_t much = std::size_t(1) << 62;
    if (mallocx(much, 0) != nullptr || rallocx(kept[0], much, 0) != nullptr) abort();
    long resized = 0;
    for (std::size_t old : {72, 20000, 300000}) {
        void *block = make_resized(old);
        std::memset(block, 1, 64);
        kept[kept_count++] = block;
        old = resize(block, old, old * 3, 0);
        old = resize(block, old, old + 1, old);
        old = resize(block, old, old / 2 + 1, 0);
        resized += static_cast<long>(old);
    }
    return resized;
}
#endif

int main(int count, char **words) {
    long resized = run();
    std::size_t sum = 0;
    for (int i = 0; i < kept_count; i++) sum += *static_cast<unsigned char *>(kept[i]);
    std::printf("%d blocks stand, %zu; %ld\n", kept_count, sum, resized);
    std::fflush(stdout);
    if (count > 1) execv(words[1], words + 1);
    return 0;
}
