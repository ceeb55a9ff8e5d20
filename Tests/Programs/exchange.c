/*
 * Four threads allocate, reallocate and free blocks of a shared table, each whatever it finds there: so a block is
 * mostly freed by another thread than allocated it. The blocks are in four parts of the heap that are 1 GB apart each,
 * with gaps that are never touched. `exchange`: in the end all blocks are freed. `exchange keep`: they stay; prints
 * their number and bytes. A block has 64 bytes or more.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTS 4
#define GAP ((size_t)1 << 30)
#define TABLE 8192
#define THREADS 4
#define ROUNDS 200000

struct block {
    uint64_t bytes;
};
static _Atomic(struct block *) table[TABLE];

static __attribute__((noinline)) struct block *give(size_t bytes) {
    struct block *block = malloc(bytes);
    if (block == NULL) abort();
    block->bytes = bytes;
    return block;
}

static __attribute__((noinline)) struct block *move(struct block *block, size_t bytes) {
    block = realloc(block, bytes);
    if (block == NULL) abort();
    block->bytes = bytes;
    return block;
}

static void *work(void *seed) {
    uint64_t random = (uintptr_t)seed * 0x9E3779B97F4A7C15u + 1;
    for (int i = 0; i < ROUNDS; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        _Atomic(struct block *) *place = &table[random % TABLE];
        const size_t bytes = 64 + (random >> 20 & (random >> 40 & 15 ? 255 : 16383));
        struct block *block = atomic_exchange(place, NULL);
        if (block == NULL) {
            block = give(bytes);
        } else if (random >> 60 < 6) {
            block = move(block, bytes);
        } else {
            free(block);
            continue;
        }
        free(atomic_exchange(place, block)); /* what another thread put there meanwhile, mostly nothing */
    }
    return NULL;
}

int main(int count, char **arguments) {
    /* No block has a mapping of its own, and one arena has all of them. */
    if (!mallopt(M_ARENA_MAX, 1) || !mallopt(M_MMAP_MAX, 0) || !mallopt(M_TRIM_THRESHOLD, INT32_MAX)) return 1;
    void *gaps[PARTS];
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t i = 0; i < TABLE / PARTS; i++) table[part * (TABLE / PARTS) + i] = give(64 + i % 256);
        if ((gaps[part] = malloc(GAP)) == NULL) return 1;
    }
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)) != 0) return 1;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (size_t part = 0; part < PARTS; part++) free(gaps[part]);
    const bool keeps = count > 1 && strcmp(arguments[1], "keep") == 0;
    uint64_t blocks = 0, bytes = 0;
    for (size_t i = 0; i < TABLE; i++) {
        struct block *block = table[i];
        if (block == NULL) continue;
        blocks++;
        bytes += block->bytes;
        if (!keeps) free(block);
    }
    printf("%lu %lu\n", (unsigned long)blocks, (unsigned long)bytes);
    return 0;
}
