/*
 * Blocks that are held only by variables of each kind, and LOST that nothing holds. Each holder's blocks have a size of
 * their own, so that a report names it. Some blocks lie on the pages of the program's own variables if the C library
 * gives malloc the rest of those pages: their number is printed.
 *
 * -DPADDING=BYTES moves the end of its variables within their last page.
 *
 * usage: globals [LIBRARY], whose hold_locally() holds a block by a thread-local variable. Without dlopen: -DSTATIC
 */
#ifndef STATIC
#include <dlfcn.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../at_rest.h"

#include "registers.h"

#define NOINLINE __attribute__((noinline))
#define LOST 50

extern char end[]; /* of the program's variables */
static void *volatile initialized = end;
static void *volatile zeroed;
static void *volatile table[100000];
#ifndef PADDING
#define PADDING 1
#endif
static volatile char padding[PADDING];
static _Thread_local void *volatile local;
static pthread_key_t key;
static atomic_int waiting;
static int near;

static NOINLINE void *block(size_t bytes) {
    char *made = calloc(1, bytes);
    if ((uintptr_t)made >> 12 == (uintptr_t)end >> 12) near++;
    return made;
}

/* Blocks of all small sizes: which ones musl puts on such a page depends on what else is loaded. */
static NOINLINE void fill(void) {
    static void *volatile filler[64][12];
    size_t bytes = 12;
    for (int i = 0; i < 64; i++, bytes += 8 + bytes / 16)
        for (int k = 0; k < 12; k++) filler[i][k] = block(bytes);
}
static NOINLINE void hold(void) {
    initialized = block(104);
    padding[0] = 1;
    zeroed = block(120);
    for (int i = 0; i < 100; i++) table[i * 1000] = block(136);
    local = block(152);
    pthread_setspecific(key, block(168));
}
static NOINLINE void lose(void) {
    for (int i = 0; i < LOST; i++) {
        void *volatile *lost = block(184);
        lost[0] = block(200);
    }
}
static NOINLINE void wipe(void) {
    char space[16384];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
    FORGET_REGISTERS;
}
/* The C library's own variables hold what only it knows. */
static NOINLINE void give_to_libc(void) {
    if (setenv("HELD", "by the environment", 1) != 0) abort();
    if (fopen("/dev/null", "r") == NULL) abort();
}

static void *run(void *unused) {
    local = block(216);
    pthread_setspecific(key, block(232));
    void *volatile on_stack = block(248);
    lose();
    wipe();
    waiting++;
    for (;;)
        if (pause() == 0 && on_stack == 0) return unused;
}

static void load(const char *path) {
#ifndef STATIC
    void *library = dlopen(path, RTLD_NOW);
    void (*hold_locally)(void *) = library == NULL ? NULL : (void (*)(void *))dlsym(library, "hold_locally");
    if (hold_locally == NULL) abort();
    hold_locally(block(280));
#else
    (void)path;
#endif
}

int main(int argc, char **argv) {
    pthread_t thread;
    pthread_key_create(&key, NULL);
    if (argc > 1) load(argv[1]);
    fill();
    lose();
    hold();
    give_to_libc();
    void *volatile on_stack = block(264);
    for (int i = 0; i < 4; i++)
        if (pthread_create(&thread, NULL, run, NULL) != 0) return 1;
    wipe();
    while (waiting < 4) usleep(1000);
    wait_for_threads(4, 'S');
    printf("%d\nready\n", near);
    fflush(stdout);
    for (;;)
        if (pause() == 0 && on_stack == 0) return 1;
}
