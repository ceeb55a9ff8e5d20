/*
 * Closes the writing end of a pipe each time a line comes in, and says when the reader has seen the end. A large heap
 * makes a search take its time.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct block {
    struct block *next;
    char rest[88];
};
static struct block *blocks;
static int ends[2];

static void *read_all(void *unused) {
    char byte;
    while (read(ends[0], &byte, 1) > 0) {}
    return unused;
}

int main(void) {
    char line[16];
    for (int i = 0; i < 200000; i++) {
        struct block *block = malloc(sizeof *block);
        if (block == NULL) return 1;
        block->next = blocks;
        blocks = block;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        pthread_t reader;
        if (pipe(ends) != 0 || pthread_create(&reader, NULL, read_all, NULL) != 0) return 1;
        printf("open %s", line);
        fflush(stdout);
        if (fgets(line, sizeof line, stdin) == NULL) return 1;
        close(ends[1]);
        pthread_join(reader, NULL);
        close(ends[0]);
        printf("closed %s", line);
        fflush(stdout);
    }
    return 0;
}
