/*
 * A program whose stacks are ever new, as a compiler's, a parser's or an interpreter's are: malloc/free pairs, each
 * replacing a random block of a live set, from a walk over 200 functions that hovers about a depth. Prints nanoseconds
 * of the processor's time a pair, the kernel's included, and kilobytes resident at the end, shared files included.
 *
 * VARIETY is how many of 1,000 calls choose one of the 200 functions at random; the others go where the same depth went
 * before. With depth 24 and two million pairs, a variety of 2 makes a new stack in some 1 % of the pairs, 25 in 10 %,
 * and 95 in 36 %.
 *
 * usage: wander VARIETY DEPTH LIVE PAIRS
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "resident.h"

typedef void function(unsigned depth);
static function *const functions[200];

static uint64_t state = 88172645463325252u, left, live, filled;
static unsigned target, variety, skip, up;
static void **blocks;

static inline uint64_t next_random(void) { /* xorshift */
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static inline __attribute__((always_inline)) void pair(void) {
    uint64_t random = next_random();
    void **slot = &blocks[filled < live ? filled++ : (random >> 20) % live];
    free(*slot);
    *slot = malloc(16 + (random & 255));
    left--;
}

static inline function *next_function(unsigned depth) {
    uint64_t random = next_random() >> 12;
    if (random % 1000 < variety) return functions[(random >> 24) % 200];
    return functions[depth * 7 % 200];
}

#define FUNCTION(n) \
    static __attribute__((noinline)) void f##n(unsigned depth) { \
        for (;;) { \
            if (skip > 0) { \
                skip--; \
            } else { \
                if (left == 0) return; \
                if (up > 0) { \
                    up--; \
                    return; \
                } \
                pair(); \
                uint64_t random = next_random() >> 16; \
                if (depth >= 2 && (depth >= 2 * target || random % 100 >= (depth < target ? 60u : 40u))) { \
                    up = random >> 8 & 3; \
                    return; \
                } \
                skip = random >> 8 & 3; \
            } \
            next_function(depth)(depth + 1); \
        } \
    }
/* clang-format off */
#define TEN(n) \
    FUNCTION(n##0) FUNCTION(n##1) FUNCTION(n##2) FUNCTION(n##3) FUNCTION(n##4) \
    FUNCTION(n##5) FUNCTION(n##6) FUNCTION(n##7) FUNCTION(n##8) FUNCTION(n##9)
TEN(0) TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9)
TEN(10) TEN(11) TEN(12) TEN(13) TEN(14) TEN(15) TEN(16) TEN(17) TEN(18) TEN(19)
#define NAMES(n) f##n##0, f##n##1, f##n##2, f##n##3, f##n##4, f##n##5, f##n##6, f##n##7, f##n##8, f##n##9,
static function *const functions[200] = {
    NAMES(0) NAMES(1) NAMES(2) NAMES(3) NAMES(4) NAMES(5) NAMES(6) NAMES(7) NAMES(8) NAMES(9)
    NAMES(10) NAMES(11) NAMES(12) NAMES(13) NAMES(14) NAMES(15) NAMES(16) NAMES(17) NAMES(18) NAMES(19)};
/* clang-format on */

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: wander VARIETY DEPTH LIVE PAIRS\n");
        return 64;
    }
    variety = (unsigned)atoi(arguments[1]);
    target = (unsigned)atoi(arguments[2]);
    live = strtoull(arguments[3], NULL, 10);
    uint64_t pairs = strtoull(arguments[4], NULL, 10);
    if (target < 1 || live < 1 || pairs < 1) return 64;
    blocks = calloc(live, sizeof *blocks);
    if (blocks == NULL) abort();
    struct timespec start, end;
    left = live;
    while (left > 0) functions[0](1); /* fills the live set */
    left = pairs;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    while (left > 0) {
        skip = up = 0;
        functions[0](1);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double nanoseconds = (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
    printf("%.2f %llu\n", nanoseconds / (double)pairs, (unsigned long long)resident_kilobytes());
    return 0;
}
