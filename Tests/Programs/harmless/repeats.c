/*
 * Does the same work again and again: allocations from stacks of all kinds, through libc and from functions that libc
 * calls, and frees what it took. It stops itself by SIGSTOP when it has done it a few times. usage: repeats KIND FIRST
 * TIMES
 */
#define _GNU_SOURCE
#include <regex.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APART __attribute__((noinline))

static void *volatile block;

APART static void *take(size_t bytes) { return block = malloc(bytes); }

APART static void copies(void) {
    block = strdup("a text to be copied");
    free(block);
}
APART static void prints(void) {
    char *text = NULL;
    if (asprintf(&text, "%d and %s", 42, "more") < 0) abort();
    free(text);
}
APART static int compares(const void *one, const void *other) {
    free(take(100));
    return *(const int *)one - *(const int *)other;
}
APART static void sorts(void) {
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof numbers[0], compares);
}
APART static int by_name(const void *one, const void *other) { return strcmp(one, other); }
APART static void searches(void) {
    static const char names[] = "a\0b\0c";
    void *root = NULL;
    for (int i = 0; i < 3; i++) tsearch(names + 2 * i, &root, by_name);
    for (int i = 0; i < 3; i++) tdelete(names + 2 * i, &root, by_name);
}
APART static void compiles(void) {
    regex_t expression;
    if (regcomp(&expression, "^(a|b)*c[[:digit:]]{2,3}$", REG_EXTENDED) != 0) abort();
    regfree(&expression);
}
APART static void handles(int signal) { free(take((size_t)signal)); }
APART static void raises(void) { raise(SIGALRM); }
APART static void recurses(int depth) {
    if (depth > 0) recurses(depth - 1);
    else free(take(24));
    __asm__ volatile(""); /* the call is not the last thing it does, so each has a frame */
}
APART static void goes_deep(void) { recurses(60); }

static const struct {
    const char *name;
    void (*work)(void);
} kinds[] = {{"copies", copies}, {"prints", prints}, {"sorts", sorts}, {"searches", searches}, {"compiles", compiles},
    {"raises", raises}, {"goes_deep", goes_deep}};

int main(int arguments, char **values) {
    if (arguments != 4) return 2;
    signal(SIGALRM, handles);
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        if (strcmp(kinds[kind].name, values[1]) != 0) continue;
        for (long i = atol(values[2]); i > 0; i--) kinds[kind].work();
        raise(SIGSTOP);
        for (long i = atol(values[3]); i > 0; i--) kinds[kind].work();
        _exit(0); /* what the library does at the end is not counted */
    }
    return 2;
}
