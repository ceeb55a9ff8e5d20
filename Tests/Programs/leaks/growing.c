/*
 * What grows between two looks, each time a line comes in: a cache that nobody empties, of 24 and 1,000 bytes an entry,
 * and blocks of 333 bytes that are forgotten. A table of fixed size is filled once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    char *text;
    long number;
};

static struct entry *cache;
static char *table[16];

__attribute__((noinline)) static void remember(void) {
    struct entry *entry = malloc(sizeof *entry);
    entry->text = malloc(1000);
    memset(entry->text, 'x', 1000);
    entry->next = cache;
    cache = entry;
}

__attribute__((noinline)) static void forget(void) {
    volatile char *block = malloc(333);
    block[0] = 1;
}

__attribute__((noinline)) static void fill(void) {
    for (size_t i = 0; i < 16; i++) table[i] = calloc(1, 5000);
}

/* Its frames are written over again, so that no stale word of the work holds a block. */
__attribute__((noinline)) static void clear_stack(void) {
    volatile char room[4096];
    for (size_t i = 0; i < sizeof room; i++) room[i] = 0;
}

__attribute__((noinline)) static void work(int count) {
    for (int i = 0; i < count; i++) {
        remember();
        if (i % 2 == 0) forget();
    }
}

int main(void) {
    char line[64];
    fill();
    work(100);
    clear_stack();
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        work(200);
        clear_stack();
        puts("done");
        fflush(stdout);
    }
    return 0;
}
