/*
 * A program whose memory is known, to see what recording adds to it: it makes blocks or stacks, then reads from the
 * kernel what it takes itself. Prints: blocks, bytes of heap that they lie in (with the allocator's own 8 a block), and
 * kilobytes resident, shared files included.
 *
 *   idle                       nothing; what any program costs
 *   blocks N LOW HIGH KEEP     N blocks of LOW to HIGH bytes from one place, of which one in KEEP stays live
 *   stacks N EXTRA             N blocks from N different stacks, of which each has a frame of its own and EXTRA more
 *   same N EXTRA               N blocks from one of those stacks: what the blocks alone cost
 *   threads N                  N threads that allocated and wait
 */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "resident.h"

static uint64_t block_count, heap_bytes;

static void *keep(void *block) {
    if (block == NULL) abort();
    block_count++;
    heap_bytes += malloc_usable_size(block) + 8;
    return block;
}

static void make_blocks(uint64_t count, uint64_t low, uint64_t high, uint64_t one_in) {
    void **blocks = malloc(count * sizeof *blocks);
    if (blocks == NULL) abort();
    uint64_t random = 88172645463325252u;
    for (uint64_t i = 0; i < count; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        blocks[i] = malloc(low + random % (high - low + 1));
    }
    for (uint64_t i = 0; i < count; i++) {
        if (i % one_in == 0) keep(blocks[i]);
        else free(blocks[i]);
    }
}

/* Seven bits of the path a level, outermost first, each by a call site of its own: the innermost frame is the only one
 * that a stack shares with no other. */
static __attribute__((noinline)) void chain(uint64_t extra) {
    if (extra > 1) chain(extra - 1);
    else keep(malloc(24));
    __asm__ volatile(""); /* no tail call: each level is a frame */
}
#define SITE(n) \
    case n: \
        if (levels > 1) fan(path >> 7, levels - 1, extra); \
        else if (extra > 0) chain(extra); \
        else keep(malloc(24)); \
        __asm__ volatile("" : : "i"(n)); /* sites that differ in nothing would be made one */ \
        break;
#define SITES(n) SITE(n) SITE(n + 1) SITE(n + 2) SITE(n + 3) SITE(n + 4) SITE(n + 5) SITE(n + 6) SITE(n + 7)
static __attribute__((noinline)) void fan(uint64_t path, unsigned levels, uint64_t extra) {
    switch (path & 127) {
        /* clang-format off */
        SITES(0) SITES(8) SITES(16) SITES(24) SITES(32) SITES(40) SITES(48) SITES(56)
        SITES(64) SITES(72) SITES(80) SITES(88) SITES(96) SITES(104) SITES(112) SITES(120)
        /* clang-format on */
    }
    __asm__ volatile("");
}

static pthread_barrier_t everybody, done;

static void *waits(void *unused) {
    (void)unused;
    void *volatile block = malloc(24); /* volatile: or there is neither malloc nor free */
    pthread_barrier_wait(&everybody);
    pthread_barrier_wait(&done);
    free(block);
    return NULL;
}

int main(int count, char **arguments) {
    uint64_t numbers[4] = {0, 0, 0, 1};
    for (int i = 2; i < count && i < 6; i++) numbers[i - 2] = strtoull(arguments[i], NULL, 10);
    const char *what = count > 1 ? arguments[1] : "";
    unsigned threads = 0;
    if (strcmp(what, "idle") == 0) {
        keep(malloc(24));
    } else if (strcmp(what, "blocks") == 0 && numbers[0] > 0 && numbers[2] >= numbers[1] && numbers[3] > 0) {
        make_blocks(numbers[0], numbers[1], numbers[2], numbers[3]);
    } else if (strcmp(what, "stacks") == 0 && numbers[0] <= 1u << 21) {
        for (uint64_t i = 0; i < numbers[0]; i++) fan(i, 3, numbers[1]);
    } else if (strcmp(what, "same") == 0) {
        for (uint64_t i = 0; i < numbers[0]; i++) fan(0, 3, numbers[1]);
    } else if (strcmp(what, "threads") == 0 && numbers[0] > 0 && numbers[0] < 10000) {
        threads = (unsigned)numbers[0];
        pthread_attr_t small;
        pthread_t thread;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        pthread_barrier_init(&everybody, NULL, threads + 1);
        pthread_barrier_init(&done, NULL, threads + 1);
        for (unsigned i = 0; i < threads; i++)
            if (pthread_create(&thread, &small, waits, NULL) != 0) return 1;
        pthread_barrier_wait(&everybody);
    } else {
        fprintf(stderr, "usage: memory idle | blocks N LOW HIGH KEEP | stacks N EXTRA | same N EXTRA | threads N\n");
        return 64;
    }
    uint64_t resident = resident_kilobytes();
    if (resident == 0) return 1;
    printf("%llu %llu %llu\n", (unsigned long long)block_count, (unsigned long long)heap_bytes,
        (unsigned long long)resident);
    fflush(stdout);
    _exit(0); /* as it stands: nothing is freed */
}
