/*
 * Functions whose blocks libc allocates for them, or between which libc's own functions lie: by a copy, a line of a
 * file, a comparison, a handler. Prints for each how many blocks it holds. Without frame pointers, and each in a frame
 * of another size. Built for musl, whose functions have no call frame information.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <glob.h>
#include <regex.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APART __attribute__((noinline))

static void *volatile kept[64];
static int count;

/* Makes the caller's frame as large as it says, and keeps its calls from being the last thing it does. */
#define FRAME(bytes) volatile char space[bytes] = {0}
#define LEAVE() space[0] = 1

static void keep(void *block) {
    if (block == NULL) _exit(1);
    kept[count++] = block;
}

APART void copies(void) {
    FRAME(24);
    for (int i = 0; i < 3; i++) keep(strdup("a text to be copied"));
    keep(strndup("a text to be copied", 5));
    LEAVE();
}
APART void resolves(const char *path) {
    FRAME(700);
    keep(realpath(path, NULL));
    LEAVE();
}
APART void reads_a_line(FILE *file) {
    FRAME(72);
    char *line = NULL;
    size_t bytes = 0;
    if (getline(&line, &bytes, file) < 1) _exit(2);
    keep(line);
    LEAVE();
}
APART void prints(void) {
    FRAME(3000);
    char *text = NULL;
    if (asprintf(&text, "%d and %s", 42, "more") < 0) _exit(3);
    keep(text);
    LEAVE();
}
APART void opens(void) {
    FRAME(8);
    keep(opendir("/"));
    LEAVE();
}
APART int compares(const void *one, const void *other) {
    FRAME(40);
    static int done;
    if (done++ < 4) keep(malloc(100));
    LEAVE();
    return *(const int *)one - *(const int *)other;
}
APART void sorts(void) {
    FRAME(200);
    int numbers[20];
    for (int i = 0; i < 20; i++) numbers[i] = i * 7 % 20;
    qsort(numbers, 20, sizeof numbers[0], compares);
    LEAVE();
}
APART int by_name(const void *one, const void *other) { return strcmp(one, other); }
APART void makes_a_tree(void) {
    static void *root;
    FRAME(16);
    for (int i = 0; i < 5; i++)
        if (tsearch(&"a\0b\0c\0d\0e"[2 * i], &root, by_name) == NULL) _exit(4);
    LEAVE();
}
APART void handles(int signal) {
    FRAME(56);
    keep(malloc((size_t)signal));
    LEAVE();
}
APART void raises(void) {
    FRAME(100);
    raise(SIGALRM);
    raise(SIGALRM);
    LEAVE();
}

int main(int arguments, char **values) {
    FILE *file = fopen("/proc/self/status", "r");
    if (file == NULL) return 5;
    signal(SIGALRM, handles);
    copies();
    resolves("/proc/self/../self/status");
    reads_a_line(file);
    prints();
    opens();
    sorts();
    makes_a_tree();
    raises();
    /* Once more from elsewhere: the stack pointer is another. */
    if (arguments < 2) copies();
    puts("copies 8\nresolves 1\nreads_a_line 1\nprints 1\nopens 1\nsorts 4\ncompares 4\nmakes_a_tree 5\nraises "
         "2\nhandles 2");
    fflush(stdout);
    (void)values;
    return 0;
}
