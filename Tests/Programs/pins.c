// A heap with holes: pins EVERY THREADS; 0 threads: the main one does it. Each thread allocates its part of 400,000
// blocks of 400 bytes, some small ones that malloc keeps in fast bins, and large ones with mappings of their own; then
// it frees all blocks of 400 bytes but each EVERY-th. The program prints "ready", and does what standard input says, a
// letter each:
//   t  malloc_trim(0); prints by how many bytes /proc/self/smaps_rollup became smaller
//   f  frees the kept blocks too, and then the same
//   p  the same, by what jemalloc or tcmalloc has for it
//   m  prints the size from which malloc maps blocks, as found by asking for blocks of many sizes
//   b  frees a mapped block of 5 MB, which raises that size
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 400000, SMALL = 4000 };
static char *blocks[BLOCKS], *small[SMALL], *large[64];
static int every, threads, done_by_main;
static pthread_barrier_t done;

__attribute__((noinline)) static char *allocate_kept(void) { return malloc(400); }
__attribute__((noinline)) static char *allocate_freed(void) { return malloc(400); }
__attribute__((noinline)) static char *allocate_small(void) { return malloc(40); }
__attribute__((noinline)) static char *allocate_large(void) { return malloc(300000); }
__attribute__((noinline)) static char *allocate_raising(void) { return malloc(5 << 20); }

static void *work(void *argument) {
    int self = (int)(intptr_t)argument, from = BLOCKS / threads * self, to = BLOCKS / threads * (self + 1);
    for (int i = from; i < to; i++) {
        blocks[i] = i % every == 0 ? allocate_kept() : allocate_freed();
        if (!blocks[i]) abort();
        memset(blocks[i], 1, 400);
    }
    int first = SMALL / threads * self, last = SMALL / threads * (self + 1);
    for (int i = first; i < last; i++)
        if (!(small[i] = allocate_small())) abort();
    for (int i = self; i < 64; i += threads) {
        if (!(large[i] = allocate_large())) abort();
        memset(large[i], 1, 200000);
    }
    for (int i = first; i < last; i++) free(small[i]);
    for (int i = from; i < to; i++)
        if (i % every != 0) free(blocks[i]);
    if (done_by_main) return NULL;
    pthread_barrier_wait(&done);
    for (;;) pause();
}

// Without stdio: its buffers are blocks too.
static long resident_kilobytes(void) {
    char text[4096];
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) abort();
    text[count] = 0;
    const char *line = strstr(text, "\nRss:");
    if (!line) abort();
    return atol(line + 5);
}

static void say(const char *name, long value) {
    char text[64];
    int count = snprintf(text, sizeof text, "%s %ld\n", name, value);
    if (write(1, text, (size_t)count) != count) abort();
}

static void trim(long before) {
    malloc_trim(0);
    say("returned", (before - resident_kilobytes()) * 1024);
}

typedef int control(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

static void purge(long before) {
    control *mallctl = (control *)dlsym(RTLD_DEFAULT, "mallctl");
    void (*release)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
    if (mallctl) {
        if (mallctl("thread.tcache.flush", NULL, NULL, NULL, 0) != 0) abort();
        if (mallctl("arena.4096.purge", NULL, NULL, NULL, 0) != 0) abort();
    }
    if (release) release();
    say("returned", (before - resident_kilobytes()) * 1024);
}

// The header of a chunk has its size, and says whether it is mapped. Blocks that fit into the top are never mapped: so
// nothing is kept there, and what the last block left is less than a page larger than that.
static long threshold(void) {
    mallopt(M_TOP_PAD, 0);
    size_t low = 4096, high = 64 << 20;
    while (high - low > 16) {
        size_t middle = (low + high) / 2;
        // Allocated and not freed: a free would raise it.
        char *block = malloc(middle);
        if (!block) abort();
        volatile size_t *header = (size_t *)(void *)block - 1;
        if (*header & 2) {
            high = middle;
        } else {
            low = middle;
            free(block);
        }
    }
    return (long)high;
}

int main(int count, char **words) {
    if (count < 3) return 1;
    every = atoi(words[1]);
    threads = atoi(words[2]);
    done_by_main = threads == 0;
    if (done_by_main) {
        threads = 1;
        work(0);
    } else {
        pthread_barrier_init(&done, NULL, (unsigned)threads + 1);
        for (int i = 0; i < threads; i++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, work, (void *)(intptr_t)i) != 0) abort();
        }
        pthread_barrier_wait(&done);
    }
    say("ready", threads);
    for (;;) {
        char letter;
        if (read(0, &letter, 1) != 1) return 0;
        long before = resident_kilobytes();
        if (letter == 't') trim(before);
        if (letter == 'p') purge(before);
        if (letter == 'f') {
            for (int i = 0; i < BLOCKS; i += every) free(blocks[i]);
            trim(before);
        }
        if (letter == 'm') say("threshold", threshold());
        if (letter == 'b') {
            // Of blocks that are as large, or smaller, the later ones raise nothing.
            char *smaller = allocate_large(), *block = allocate_raising(), *later = malloc(5 << 20);
            if (!smaller || !block || !later) abort();
            free(block);
            free(later);
            free(smaller);
            say("freed", 0);
        }
    }
}
