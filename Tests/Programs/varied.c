/*
 * Many stacks: `varied ROUNDS` calls malloc once a round from each of 4,096 stacks, four call sites' worth of eight
 * each, and frees the block at once. Of the last round every sixteenth block stays. Prints how many blocks it asked
 * for, and how many stay.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t asked, kept;
static int keeps;

static __attribute__((noinline)) void leaf(unsigned path) {
    void *volatile block = malloc(24);
    asked++;
    if (keeps && path % 16 == 0) kept++;
    else free(block);
}

#define SITE(n) \
    case n: \
        if (levels > 1) fan(path, rest >> 3, levels - 1); \
        else leaf(path); \
        __asm__ volatile("" : : "i"(n)); /* sites that differ in nothing would be made one */ \
        break;
static __attribute__((noinline)) void fan(unsigned path, unsigned rest, unsigned levels) {
    switch (rest & 7) { SITE(0) SITE(1) SITE(2) SITE(3) SITE(4) SITE(5) SITE(6) SITE(7) }
    __asm__ volatile("");
}

int main(int count, char **arguments) {
    static char output[4096]; /* or printf would allocate, from a stack of its own */
    setvbuf(stdout, output, _IOFBF, sizeof output);
    int rounds = count > 1 ? atoi(arguments[1]) : 1;
    for (int round = 0; round < rounds; round++) {
        keeps = round == rounds - 1;
        for (unsigned path = 0; path < 4096; path++) fan(path, path, 4);
    }
    printf("%llu %llu\n", (unsigned long long)asked, (unsigned long long)kept);
    fflush(stdout);
    _Exit(0);
}
