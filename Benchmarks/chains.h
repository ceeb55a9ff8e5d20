/*
 * Call chains that end in malloc, over 64 functions' worth of paths, and the random numbers that choose among them:
 * what the programs share that time a recorder at work.
 */
#ifndef HEAPSUM_BENCHMARKS_CHAINS_H
#define HEAPSUM_BENCHMARKS_CHAINS_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t next_random(uint64_t *state) { /* xorshift */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static __attribute__((noinline)) void *odd(unsigned depth, unsigned path, size_t size);

static __attribute__((noinline)) void *even(unsigned depth, unsigned path, size_t size) {
    void *volatile block = depth == 0 ? malloc(size)
        : path & 1                    ? odd(depth - 1, path >> 1, size)
                                      : even(depth - 1, path >> 1, size);
    return block; /* volatile: a call in tail position would leave no frame */
}

static __attribute__((noinline)) void *odd(unsigned depth, unsigned path, size_t size) {
    void *volatile block = depth == 0 ? malloc(size)
        : path & 1                    ? odd(depth - 1, path >> 1, size)
                                      : even(depth - 1, path >> 1, size);
    return block;
}

#endif
