/*
 * What it costs to verify a remembered stack (memo_holds in Interposer/stacks/memo.h): processor cycles a word, for the
 * library's own loop and for loops that leave out one thing each. The words of a stack lie some 6 words apart; their
 * addresses and values are in a list of pairs, outermost first, as in the memo.
 *
 *   as it is     groups of four, a branch a word
 *   one branch   the differences of a group are joined, and there is one branch for them: reads words beyond one that
 *                differs, so it may not be used; it says what the branches cost
 *   no compare   the words are read and added up: what the loads of a list and of what it points to cost
 *   list alone   only the list is read: half of the loads
 *   just stored  as it is, but each word was stored a moment before, as in a program that has just made its calls:
 *                what forwarding from the stores costs. `stores alone` is to be taken off.
 *   varying, N   as it is, in groups of N words, but each stack has another depth: from half as many words to half as
 *                many again, in an order that no predictor knows. It says what leaving the loop costs.
 *
 * Time is counted by rdtsc, whose ticks are the processor's at its nominal clock; a processor that runs faster than
 * that makes more cycles than ticks. x86-64 alone. Between the marks of as_it_is llvm-mca says what the loop takes by
 * itself:
 *
 *   cc -std=gnu17 -O2 -fno-tree-vectorize -S -o - verify.c | llvm-mca -mcpu=znver3 -bottleneck-analysis
 * usage: verify [WORDS]
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

struct word {
    uintptr_t address, value;
};
#define MOST 1024
#define APART 6
#define PADDING 16 /* words that always hold beyond the outermost one, for the largest group */
static struct word list[PADDING + MOST];
static uintptr_t stack[MOST * APART], zero;
static volatile uint64_t sink;

#define likely(x) __builtin_expect(!!(x), 1)
static inline uintptr_t word_at(uintptr_t address) { return *(const volatile uintptr_t *)address; }

typedef bool verify_function(const struct word *last, const struct word *first);

static __attribute__((noinline)) bool as_it_is(const struct word *word, const struct word *end) {
    for (; word > end; word -= 4) {
        __asm__ volatile("# LLVM-MCA-BEGIN as_it_is");
#define HOLDS(i) likely(word_at(word[-(i)].address) == word[-(i)].value)
        if (!(HOLDS(1) && HOLDS(2) && HOLDS(3) && HOLDS(4))) return false;
        __asm__ volatile("# LLVM-MCA-END");
    }
    return true;
}

static __attribute__((noinline)) bool one_branch(const struct word *word, const struct word *end) {
    for (; word > end; word -= 4) {
#define DIFFERS(i) (word_at(word[-(i)].address) ^ word[-(i)].value)
        if (DIFFERS(1) | DIFFERS(2) | DIFFERS(3) | DIFFERS(4)) return false;
    }
    return true;
}

static __attribute__((noinline)) bool no_compare(const struct word *word, const struct word *end) {
    uint64_t sum = 0;
    for (; word > end; word -= 4)
        for (int i = 1; i <= 4; i++) sum += word_at(word[-i].address) + word[-i].value;
    sink = sum;
    return true;
}

static __attribute__((noinline)) bool list_alone(const struct word *word, const struct word *end) {
    uint64_t sum = 0;
    for (; word > end; word -= 4)
        for (int i = 1; i <= 4; i++) sum += word[-i].address ^ word[-i].value;
    sink = sum;
    return true;
}

static inline void store(const struct word *word, const struct word *end) {
    for (; word > end; word--) *(volatile uintptr_t *)word[-1].address = word[-1].value;
}
static __attribute__((noinline)) bool just_stored(const struct word *word, const struct word *end) {
    store(word, end);
    return as_it_is(word, end);
}
static __attribute__((noinline)) bool stores_alone(const struct word *word, const struct word *end) {
    store(word, end);
    return true;
}

/* In groups of this size. */
#define IN_GROUPS(name, size) \
    static __attribute__((noinline)) bool name(const struct word *word, const struct word *end) { \
        for (; word > end; word -= (size)) { \
            _Pragma("GCC unroll 16") for (int i = 1; i <= (size); i++) if (!HOLDS(i)) return false; \
        } \
        return true; \
    }
IN_GROUPS(fours, 4)
IN_GROUPS(eights, 8)
IN_GROUPS(sixteens, 16)

static int compare(const void *one, const void *other) {
    uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;
    return (a > b) - (a < b);
}

/* The median of many rounds of CALLS calls, in ticks a word. `varies`: the calls have depths of their own. */
static double ticks(verify_function *function, unsigned words, bool varies) {
    enum { ROUNDS = 20001, CALLS = 8 };
    static uint64_t times[ROUNDS];
    static uint32_t depths[ROUNDS][CALLS];
    uint64_t random = 0x9E3779B97F4A7C15u, sum = 0;
    for (int i = 0; i < ROUNDS; i++)
        for (int call = 0; call < CALLS; call++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17; /* xorshift */
            sum += depths[i][call] = varies ? words / 2 + (unsigned)(random >> 20) % (words + 1) : words;
        }
    for (int i = 0; i < ROUNDS; i++) {
        unsigned unused;
        _mm_lfence();
        uint64_t start = __rdtsc();
        for (int call = 0; call < CALLS; call++)
            if (!function(list + PADDING + depths[i][call], list + PADDING)) abort();
        times[i] = __rdtscp(&unused) - start;
    }
    qsort(times, ROUNDS, sizeof *times, compare);
    return (double)times[ROUNDS / 2] * ROUNDS / (double)sum;
}

int main(int count, char **arguments) {
    unsigned words = count > 1 ? (unsigned)atoi(arguments[1]) : 24;
    if (words < 4 || words > MOST / 2 || words % 4 != 0) {
        fprintf(stderr, "usage: verify [WORDS]: a multiple of 4, from 4 to %d\n", MOST / 2);
        return 64;
    }
    for (unsigned i = 0; i < PADDING; i++) list[i] = (struct word){(uintptr_t)&zero, 0};
    for (unsigned i = 0; i < MOST; i++) {
        uintptr_t *at = &stack[(MOST - 1 - i) * APART]; /* outermost first, at the highest address */
        *at = (uintptr_t)at * 31 + i;
        list[PADDING + i] = (struct word){(uintptr_t)at, *at};
    }
    const struct {
        const char *name;
        verify_function *function;
        bool varies;
    } ways[] = {{"as it is", as_it_is, false}, {"one branch", one_branch, false}, {"no compare", no_compare, false},
        {"list alone", list_alone, false}, {"just stored", just_stored, false}, {"stores alone", stores_alone, false},
        {"varying, 4", fours, true}, {"varying, 8", eights, true}, {"varying, 16", sixteens, true}};
    printf("%-14s %10s   (%u words)\n", "ticks a word", "median", words);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        printf("%-14s %10.2f\n", ways[i].name, ticks(ways[i].function, words, ways[i].varies));
    return 0;
}
