/*
 * Programs whose state can't be had whole. vfork: one thread waits uninterruptibly for its vfork's child. fork: the
 * child goes on, with a block that its parent made and that holds one of its own. messages: several wait in a socket of
 * datagrams, of which the first alone can be seen.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../at_rest.h"

void *directly, *held;

static __attribute__((noinline)) void lose(void) {
    void *volatile *volatile lost = calloc(1, 4000);
    *lost = calloc(1, 3000);
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
        wait_for_threads(1, 'D');
    } else if (argc > 1 && strcmp(argv[1], "messages") == 0) {
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return 1;
        for (int i = 0; i < 2; i++)
            if (write(ends[1], "a message", 9) != 9) return 1;
    } else {
        void *volatile *inherited = calloc(4, sizeof(void *));
        if (fork() != 0)
            for (;;) pause();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        inherited[1] = calloc(1, 5000);
        directly = calloc(1, 6000);
        held = (void *)inherited;
    }
    lose();
    wipe();
    printf("%d\n", (int)getpid());
    puts("ready");
    fflush(stdout);
    for (;;) pause();
}
