/*
 * Nothing but allocation: the worst case for whoever watches it.
 *
 * Each thread keeps a window of blocks and replaces a random one at each step, from call chains of
 * 4 to 35 frames over 64 functions' worth of paths, in the sizes that programs ask for (most are small).
 * Real programs do something between two allocations: what is seen here is an upper bound.
 *
 * usage: churn threads steps-per-thread window
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "chains.h"

static uint64_t steps, window;

static void *churn(void *argument) {
    uint64_t state = (uintptr_t)argument * 0x9E3779B97F4A7C15u + 1;
    void **blocks = calloc(window, sizeof *blocks);
    if (blocks == NULL) abort();
    for (uint64_t step = 0; step < steps; step++) {
        uint64_t random = next_random(&state), slot = (random >> 16) % window;
        size_t size = (random & 15) == 0 ? 1024 + (random >> 40) % 8192 : 16 + (random >> 40) % 240;
        free(blocks[slot]);
        blocks[slot] = even(4 + (unsigned)(random >> 8 & 31), (unsigned)(random >> 4 & 63), size);
    }
    for (uint64_t slot = 0; slot < window; slot++) free(blocks[slot]);
    free(blocks);
    return NULL;
}

int main(int count, char **arguments) {
    unsigned threads = count > 1 ? (unsigned)atoi(arguments[1]) : 1;
    steps = count > 2 ? strtoull(arguments[2], NULL, 10) : 2000000;
    window = count > 3 ? strtoull(arguments[3], NULL, 10) : 10000;
    if (threads < 1 || threads > 256 || window < 1) return 64;
    pthread_t handles[256];
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&handles[i], NULL, churn, (void *)(uintptr_t)(i + 1)) != 0) return 1;
    for (unsigned i = 0; i < threads; i++) pthread_join(handles[i], NULL);
    return 0;
}
