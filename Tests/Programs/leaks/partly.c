/*
 * Programs whose state can't be had whole. vfork: one thread waits uninterruptibly for its vfork's child. fork: the
 * child goes on, with blocks that its parent made.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) void lose(void) {
    void *volatile lost = calloc(1, 4000);
    (void)lost;
}
static __attribute__((noinline)) void wipe(void) {
    char space[8192];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

static void *wait_for_child(void *unused) {
    if (vfork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) pause();
    }
    return unused;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "vfork") == 0) {
        pthread_t thread;
        pthread_create(&thread, 0, wait_for_child, 0);
        usleep(200000);
    } else if (fork() != 0) {
        for (;;) pause();
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    lose();
    wipe();
    printf("%d\n", (int)getpid());
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
