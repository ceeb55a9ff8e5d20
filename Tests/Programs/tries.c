/*
 * Remembers failures at 64 places, as many as a program may have, of a library's code at 1,000 random bases. Prints how
 * many were forgotten.
 */
#include <stdio.h>
#include <string.h>

#include "stacks/tries.h"

static struct tries tries;
static uint64_t state = 1;

static uint64_t any(void) { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 33; }

int main(void) {
    int forgotten = 0;
    uintptr_t pcs[64];
    for (int round = 0; round < 1000; round++) {
        const uintptr_t base = 0x7f0000000000 + (any() << 12);
        memset(&tries, 0, sizeof tries);
        for (int i = 0; i < 64; i++) pcs[i] = base + any() % 0x4000 * 64 + (uintptr_t)i; /* none twice */
        for (uint64_t number = 1; number <= 8; number++)
            for (int i = 0; i < 64; i++) {
                forgotten += tries_of(&tries, pcs[i]) != number - 1;
                tries_set(&tries, pcs[i], number);
            }
    }
    printf("%d\n", forgotten);
    return 0;
}
