/* A pool that tells Valgrind and heapsum of its blocks, as docs/mappings.md says. Each tenth block of 48 bytes is lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/memcheck.h>

#include "../../Interposer/include/heapsum.h"

#define POOL_ALLOCATED(pool, block, bytes) \
    do { \
        VALGRIND_MEMPOOL_ALLOC(pool, block, bytes); \
        heapsum_pool_allocated(pool, block, bytes); \
    } while (0)
#define POOL_FREED(pool, block) \
    do { \
        VALGRIND_MEMPOOL_FREE(pool, block); \
        heapsum_pool_freed(pool, block); \
    } while (0)

static char *volatile pool;

__attribute__((noinline)) static void *take(int i) {
    void *block = pool + i * 64;
    POOL_ALLOCATED(pool, block, 48);
    return block;
}

int main(void) {
    pool = malloc(1 << 20);
    if (pool == NULL) return 1;
    VALGRIND_MAKE_MEM_NOACCESS(pool, 1 << 20);
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
    for (int i = 0; i < 1000; i++) {
        void *block = take(i);
        if (i % 10 != 0) POOL_FREED(pool, block);
    }
    pool = NULL;
    return 0;
}
