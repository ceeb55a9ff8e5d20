/*
 * Nine shapes of blocks, after the cases that Valgrind's manual draws: who is held by a root, by a block, by its
 * inside, by nobody. Each block has a size of its own, so that a report names it. A child of 8 + n bytes belongs to
 * case n.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registers.h"

#define NOINLINE __attribute__((noinline))

void *start_held, *chain_held, *inside_held, *inside_chain_held, *start_inside_held;

/* Volatile: a store to a block that nobody reads any more would be left out. */
static NOINLINE void *volatile *block(size_t bytes) { return calloc(1, bytes); }

static NOINLINE void build(void) {
    start_held = (void *)block(64);     /* 1: root -> block */
    void *volatile *parent = block(72); /* 2: root -> block -> block */
    parent[0] = (void *)block(80);
    chain_held = (void *)parent;
    parent = block(88); /* 3: block, with nobody to point at it */
    parent = block(96); /* 4: lost block -> block */
    parent[0] = (void *)block(104);
    inside_held = (char *)block(112) + 8 + 16; /* 5: root -> block's inside */
    parent = block(120);                       /* 6: root -> block -> block's inside */
    parent[0] = (char *)block(128) + 16 + 16;
    start_inside_held = (void *)parent;
    parent = block(136); /* 7: root -> block's inside -> block */
    parent[0] = (void *)block(144);
    inside_chain_held = (char *)parent + 40;
    parent = block(152); /* 8: lost -> block's inside */
    parent[0] = (char *)block(160) + 16 + 16;
    parent = block(168); /* 9: lost -> itself */
    parent[0] = (void *)parent;
}

static NOINLINE void wipe(void) {
    char space[16384];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **argv) {
    (void)argv;
    build();
    wipe();
    FORGET_REGISTERS;
    if (argc > 1) return 0; /* for Valgrind, which looks at the end */
    if (write(1, "ready\n", 6) != 6) return 1;
    for (;;) pause();
}
