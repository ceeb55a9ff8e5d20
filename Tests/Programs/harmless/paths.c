/*
 * Random paths of four functions, with frames of three sizes and of one that changes; each path ends in a block of a
 * size of its own. With an argument it prints a line for each: the bytes, and the functions from the innermost out.
 */
#include <stdio.h>
#include <stdlib.h>

static unsigned long path;
static void *volatile block;
static int says;

/* The functions that are running, main's first. */
static const char *running[16] = {"main"};
static int count = 1;

__attribute__((noinline)) void leaf(unsigned long bytes) {
    if (says) {
        printf("%lu leaf", bytes);
        for (int i = count - 1; i >= 0; i--) printf(" %s", running[i]);
        printf("\n");
    }
    block = malloc(bytes);
}

void one(unsigned long, int), two(unsigned long, int), three(unsigned long, int), four(unsigned long, int);
static void (*const steps[])(unsigned long, int) = {one, two, three, four};
#define STEP(bytes, depth) \
    path = path * 6364136223846793005ul + 1442695040888963407ul; \
    if ((depth) <= 0) leaf(bytes); \
    else steps[path >> 62](bytes, depth)
#define PATH(name, room) \
    __attribute__((noinline)) void name(unsigned long bytes, int depth) { \
        volatile char space[room]; \
        space[bytes % room] = 1; \
        running[count++] = #name; \
        STEP(bytes, depth - 1); \
        count--; \
        space[0] = 2; \
    }
PATH(one, 8)
PATH(two, 100)
PATH(three, 3000)
__attribute__((noinline)) void four(unsigned long bytes, int depth) {
    volatile char *space = __builtin_alloca(bytes % 500 + 1);
    space[0] = 1;
    running[count++] = "four";
    STEP(bytes, depth - 1);
    count--;
    space[0] = 2;
}
int main(int arguments, char **values) {
    (void)values;
    says = arguments > 1;
    for (unsigned long i = 1; i <= 200; i++) {
        STEP(i * 16, (int)(i % 12) + 1);
    }
    return 0;
}
