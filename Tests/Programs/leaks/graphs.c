/* A lost tree, lost cycles alone and with tails, a cycle that leads into another, and the same held by a root. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "registers.h"

#define NOINLINE __attribute__((noinline))

struct node {
    struct node *volatile left, *volatile right;
    char rest[0];
};

struct node *kept_tree, *kept_cycle;

static NOINLINE struct node *node(size_t more) { return calloc(1, sizeof(struct node) + more); }

static NOINLINE struct node *tree(int depth) {
    struct node *top = node((size_t)depth * 8);
    if (depth > 0) {
        top->left = tree(depth - 1);
        top->right = tree(depth - 1);
    }
    return top;
}

static NOINLINE struct node *cycle(int count, size_t more) {
    struct node *first = node(more), *last = first;
    for (int i = 1; i < count; i++) {
        struct node *next = node(more);
        last->left = next;
        last = next;
    }
    last->left = first;
    return first;
}

static NOINLINE void build(void) {
    kept_tree = tree(5);
    kept_cycle = cycle(7, 24);
    (void)tree(6);
    (void)cycle(1, 40);
    (void)cycle(3, 48);
    cycle(4, 56)->right = tree(2); /* a cycle with a tail */
    struct node *held = cycle(3, 72), *holder = cycle(3, 80);
    holder->left->right = held;      /* a cycle that leads into another, which was made before it */
    cycle(2, 88)->right = kept_tree; /* the lost may hold what is kept */
    struct node *late = node(96), *early = node(104);
    early->left = late;
    late->right = kept_cycle;
}

static NOINLINE void wipe(void) {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **argv) {
    (void)argv;
    build();
    wipe();
    FORGET_REGISTERS;
    if (argc > 1) return 0;
    if (write(1, "ready\n", 6) != 6) return 1;
    for (;;) pause();
}
