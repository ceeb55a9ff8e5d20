/*
 * What one malloc/free pair costs: nothing but pairs, each replacing a random block of a live set (each thread's own),
 * from a stack of a given depth. Prints nanoseconds a pair, per thread, once the live set is full.
 *
 *   site   one call site at the bottom of `depth` calls
 *   walk   a random walk over 128 functions, which goes a few calls down or up between two pairs and hovers about
 * `depth`; some 300 stacks in all
 *
 * usage: pairs site|walk DEPTH LIVE THREADS PAIRS
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct walk {
    uint64_t random, left, live, filled;
    unsigned target, path, skip, up;
    void **blocks;
};
typedef void function(struct walk *, unsigned depth);
static function *const functions[128];

static unsigned target, thread_count;
static uint64_t live, pairs;
static int walks;

static inline uint64_t next_random(struct walk *walk) { /* xorshift */
    walk->random ^= walk->random << 13;
    walk->random ^= walk->random >> 7;
    return walk->random ^= walk->random << 17;
}

/* One pair, in the function that it is inlined into. */
static inline __attribute__((always_inline)) void pair(struct walk *walk) {
    uint64_t random = next_random(walk);
    void **slot = &walk->blocks[walk->filled < walk->live ? walk->filled++ : (random >> 20) % walk->live];
    free(*slot);
    *slot = malloc(16 + (random & 255));
    walk->left--;
}

/* The way on from a level: by one of eight paths, chosen near the root. */
static inline function *next_function(struct walk *walk, unsigned depth) {
    if (depth < 2) walk->path = next_random(walk) >> 33 & 7;
    return functions[(depth * 8 + walk->path * (depth + 1)) % 128];
}

#define FUNCTION(n) \
    static __attribute__((noinline)) void f##n(struct walk *walk, unsigned depth) { \
        for (;;) { \
            if (walk->skip > 0) { \
                walk->skip--; \
            } else { \
                if (walk->left == 0) return; \
                if (walk->up > 0) { \
                    walk->up--; \
                    return; \
                } \
                pair(walk); \
                uint64_t random = next_random(walk) >> 16; \
                if (depth >= 2 && (depth >= 2 * walk->target || random % 100 >= (depth < walk->target ? 60u : 40u))) { \
                    walk->up = random >> 8 & 3; \
                    return; \
                } \
                walk->skip = random >> 8 & 3; \
            } \
            next_function(walk, depth)(walk, depth + 1); \
        } \
    }
/* clang-format off */
#define EIGHT(n) \
    FUNCTION(n##0) FUNCTION(n##1) FUNCTION(n##2) FUNCTION(n##3) \
    FUNCTION(n##4) FUNCTION(n##5) FUNCTION(n##6) FUNCTION(n##7)
EIGHT(0) EIGHT(1) EIGHT(2) EIGHT(3) EIGHT(4) EIGHT(5) EIGHT(6) EIGHT(7)
EIGHT(8) EIGHT(9) EIGHT(a) EIGHT(b) EIGHT(c) EIGHT(d) EIGHT(e) EIGHT(f)
/* clang-format on */
#define NAMES(n) f##n##0, f##n##1, f##n##2, f##n##3, f##n##4, f##n##5, f##n##6, f##n##7,
        static function *const functions[128] = {NAMES(0) NAMES(1) NAMES(2) NAMES(3) NAMES(4) NAMES(5) NAMES(6) NAMES(7)
                NAMES(8) NAMES(9) NAMES(a) NAMES(b) NAMES(c) NAMES(d) NAMES(e) NAMES(f)};

static __attribute__((noinline)) void one_site(struct walk *walk, unsigned depth) {
    if (depth < walk->target) one_site(walk, depth + 1);
    else
        while (walk->left > 0) pair(walk);
    __asm__ volatile(""); /* no tail call: each level is a frame */
}

static void *work(void *seed) {
    struct walk walk = {.random = (uintptr_t)seed * 0x9E3779B97F4A7C15u + 1, .live = live, .target = target};
    walk.blocks = calloc(live, sizeof *walk.blocks);
    if (walk.blocks == NULL) abort();
    walk.left = live + pairs / 10; /* fills the live set, and warms up */
    struct timespec start, end;
    for (int round = 0; round < 2; round++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        while (walk.left > 0) {
            walk.skip = walk.up = 0;
            if (walks) f00(&walk, 1);
            else one_site(&walk, 1);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        if (round == 0) walk.left = pairs;
    }
    double *nanoseconds = malloc(sizeof *nanoseconds);
    *nanoseconds = ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / (double)pairs;
    return nanoseconds;
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: pairs site|walk DEPTH LIVE THREADS PAIRS\n");
        return 64;
    }
    walks = strcmp(arguments[1], "walk") == 0;
    target = (unsigned)atoi(arguments[2]);
    live = strtoull(arguments[3], NULL, 10);
    thread_count = (unsigned)atoi(arguments[4]);
    pairs = strtoull(arguments[5], NULL, 10);
    if (target < 1 || live < 1 || thread_count < 1 || thread_count > 64 || pairs < 1) return 64;
    pthread_t threads[64];
    double sum = 0;
    if (thread_count == 1) { /* by the program's first thread, as in a program that has one */
        printf("%.2f\n", *(double *)work((void *)1));
        return 0;
    }
    for (unsigned i = 0; i < thread_count; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1)) != 0) return 1;
    for (unsigned i = 0; i < thread_count; i++) {
        void *nanoseconds;
        pthread_join(threads[i], &nanoseconds);
        sum += *(double *)nanoseconds;
    }
    printf("%.2f\n", sum / thread_count);
    return 0;
}
