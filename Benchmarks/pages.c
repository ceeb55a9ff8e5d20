/*
 * A heap for scripts/bench-pages: pages COUNT BYTES. COUNT blocks of BYTES are live and written; after each 512 of them
 * lie 64 that were freed. It prints "ready", and for the rest of its life allocates and frees: on each line of standard
 * input it prints the longest time that 100 pairs took since the last line, in microseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIVE_RUN = 512, FREE_RUN = 64 };

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void *block(uint64_t bytes) {
    void *made = malloc(bytes);
    if (!made) abort();
    return memset(made, 1, bytes);
}

int main(int words, char **word) {
    if (words < 3) return 1;
    uint64_t count = strtoull(word[1], NULL, 10), bytes = strtoull(word[2], NULL, 10), freed = 0;
    void **others = malloc((count / LIVE_RUN + 1) * FREE_RUN * sizeof *others);
    if (!others) abort();
    for (uint64_t i = 0; i < count; i++) {
        block(bytes);
        if (i % LIVE_RUN != LIVE_RUN - 1) continue;
        for (int j = 0; j < FREE_RUN; j++) others[freed++] = block(bytes);
    }
    for (uint64_t i = 0; i < freed; i++) free(others[i]);
    fcntl(0, F_SETFL, O_NONBLOCK);
    printf("ready\n");
    fflush(stdout);
    for (uint64_t longest = 0;;) {
        uint64_t before = now();
        for (int i = 0; i < 100; i++) free(block(64));
        uint64_t step = now() - before;
        if (step > longest) longest = step;
        char letter;
        if (read(0, &letter, 1) == 1 && letter == '\n') {
            printf("%llu us\n", (unsigned long long)longest / 1000);
            fflush(stdout);
            longest = 0;
        }
    }
}
