/* THREADS threads, each with one block on its stack, one in thread-local storage, and one that it loses. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../at_rest.h"

static atomic_int waiting;
_Thread_local void *local_to_thread;

static __attribute__((noinline)) void prepare(void) {
    void *volatile lost = calloc(1, 48);
    (void)lost;
    local_to_thread = calloc(1, 64);
}
static __attribute__((noinline)) void wipe(void) {
    char space[8192];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

static void *run(void *unused) {
    prepare();
    wipe();
    void *volatile on_stack = calloc(1, 80);
    waiting++;
    for (;;)
        if (pause() == 0 && on_stack == 0) return unused;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 100;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, run, 0) != 0) return 1;
    }
    while (waiting < count) usleep(1000);
    wait_for_threads(count, 'S');
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
