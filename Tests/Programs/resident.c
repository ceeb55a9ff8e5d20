// Blocks of which parts were never written: resident SECONDS [END]. Prints, by mincore(2), how many of the bytes of
// each kind are on pages that are in memory; then it sleeps, and ends by END: return (the default), _exit, kill, exec
// or thread, where a second thread ends the process after the main one has ended. The kinds are allocated by functions
// of their own.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SMALL = 20000 };
static char *untouched, *half, *scattered, *small[SMALL];

__attribute__((noinline)) static char *allocate_untouched(void) { return malloc(1 << 30); }
__attribute__((noinline)) static char *allocate_half(void) { return malloc(64 << 20); }
__attribute__((noinline)) static char *allocate_scattered(void) { return malloc(32 << 20); }
__attribute__((noinline)) static char *allocate_small(void) { return malloc(1000); }

static size_t resident(const char *block, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)block, end = start + bytes;
    size_t sum = 0;
    for (uintptr_t at = start & ~(page - 1); at < end; at += page) {
        unsigned char is_there = 0;
        if (mincore((void *)at, page, &is_there) != 0) abort();
        uintptr_t from = at > start ? at : start, to = at + page < end ? at + page : end;
        if (is_there & 1) sum += to - from;
    }
    return sum;
}

static void *end(void *unused) {
    (void)unused;
    usleep(100000);
    _exit(7);
}

int main(int count, char **words) {
    untouched = allocate_untouched();
    half = allocate_half();
    scattered = allocate_scattered();
    if (!untouched || !half || !scattered) return 1;
    memset(half, 1, 32 << 20);
    for (size_t at = 0; at < 32 << 20; at += 3 * 4096) scattered[at] = 1;
    size_t sum = 0;
    for (int i = 0; i < SMALL; i++) {
        small[i] = allocate_small();
        if (!small[i]) return 1;
        memset(small[i], 1, 1000);
    }
    for (int i = 0; i < SMALL; i++) sum += resident(small[i], 1000);
    printf("allocate_untouched %zu\n", resident(untouched, 1 << 30));
    printf("allocate_half %zu\n", resident(half, 64 << 20));
    printf("allocate_scattered %zu\n", resident(scattered, 32 << 20));
    printf("allocate_small %zu\n", sum);
    fflush(stdout);
    sleep(count > 1 ? (unsigned)atoi(words[1]) : 0);
    const char *how = count > 2 ? words[2] : "return";
    if (strcmp(how, "_exit") == 0) _exit(7);
    if (strcmp(how, "kill") == 0) raise(SIGTERM);
    if (strcmp(how, "exec") == 0) execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
    if (strcmp(how, "thread") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end, NULL) != 0) return 1;
        pthread_exit(NULL);
    }
    return 7;
}
