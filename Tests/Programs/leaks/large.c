/*
 * COUNT blocks of 1 MB, all written, of which every 100th is lost. With a second argument it writes on, a word in one
 * page after the other, and says each time that a round of 100 took longer than any before: what a snapshot costs it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BYTES (1 << 20)

static char **blocks;

static __attribute__((noinline)) void lose(void) {
    void *volatile lost = malloc(BYTES);
    memset(lost, 'l', BYTES);
}

static __attribute__((noinline)) void wipe(void) {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

int main(int count, char **arguments) {
    size_t wanted = count > 1 ? strtoull(arguments[1], 0, 10) : 100;
    blocks = calloc(wanted + 1, sizeof *blocks);
    for (size_t i = 0; i < wanted; i++) {
        blocks[i] = memset(malloc(BYTES), 'x', BYTES);
        if (i % 100 == 0) lose();
    }
    wipe();
    puts("ready");
    fflush(stdout);
    if (count <= 2) pause();
    uint64_t longest = 0;
    for (size_t at = 0;;) {
        uint64_t before = now();
        for (int i = 0; i < 100; i++, at += 4096) blocks[at / BYTES % wanted][at % BYTES] = 'y';
        uint64_t took = now() - before;
        if (took > longest) {
            longest = took;
            printf("%lu us\n", (unsigned long)(longest / 1000));
            fflush(stdout);
        }
    }
}
