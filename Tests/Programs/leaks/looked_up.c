/*
 * A container that looks up free and realloc before anybody attaches, as one with destroy and grow functions does: what
 * it frees and grows through them is not seen. Told "work", it frees 1,000 blocks so, and keeps 1,000 in the part of an
 * array that it grew so, and loses 10. Told "end", it frees what it keeps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT = 1000, LENGTH = 2000, GROWN = 5000 };
static void (*volatile destroy)(void *);
static void *(*volatile grow)(void *, size_t);
static char **array;
static void *volatile last;

static void work(void) {
    static void *freed[KEPT];
    for (int i = 0; i < KEPT; i++) freed[i] = malloc(301);
    last = malloc(100); /* what is freed below is not returned to the kernel */
    for (int i = 0; i < KEPT; i++) destroy(freed[i]);
    memset(freed, 0, sizeof freed);
    for (int i = 0; i < 10; i++) memset(malloc(503), 1, 503);
    /* It grows where it is: there is room behind it. */
    char **before = array = malloc(LENGTH * sizeof *array);
    memset(array, 0, LENGTH * sizeof *array);
    array = grow(array, GROWN * sizeof *array);
    memset(array, 0, GROWN * sizeof *array);
    for (int i = GROWN - KEPT; i < GROWN; i++) array[i] = malloc(201);
    printf("%s\n", array == before ? "done" : "moved");
}

int main(void) {
    char line[100];
    setbuf(stdout, NULL);
    /* At run time: an initial value is a relocation, which heaprun finds. */
    destroy = free;
    grow = realloc;
    puts("ready");
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "work\n") == 0) work();
        if (strcmp(line, "end\n") == 0) {
            for (int i = GROWN - KEPT; i < GROWN; i++) free(array[i]);
            puts("freed");
        }
    }
    return 0;
}
