/*
 * Programs in whose threads a call can't be put as usual. One thread counts all the while, in memory that nobody else
 * may write; SIGTERM ends the program, with the status 3 if a number was another one.
 *   pool        a thread waits near the end of a stack that the program took from a mapping of its own, just above the
 *               numbers, without a guard page; main runs a coroutine
 *   coroutine   main runs a coroutine in such a place
 *   dead        the main thread has ended
 *   dispatch    the kernel hands all system calls of all threads to a handler (syscall user dispatch); the status is 4
 *               if it does so, and "none" is said if this kernel can't
 *   plain       none of this
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../at_rest.h"

#define STACK 65536
#define NUMBERS 256
#define NEAR 500 /* bytes that a waiting thread has left: less than any signal's frame */

static volatile unsigned long own_numbers[NUMBERS], *numbers = own_numbers;
static volatile sig_atomic_t wrong, dispatched;
static volatile char selector;
static char *stack;
static atomic_int waiting, sleeping;
static long sleepers[2];
void *volatile kept;

static __attribute__((noinline)) void lose(void) {
    kept = calloc(1, 1234);
    kept = calloc(1, 4321);
}

static void end(int number) {
    (void)number;
    selector = 0;
    _exit(dispatched ? 4 : wrong ? 3 : 0);
}

static void on_dispatch(int number) {
    (void)number;
    selector = 0;
    dispatched = 1;
}

static int dispatch(void) { return prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &selector); }

/* Counts in all numbers in turn. */
static void *count(void *is_dispatching) {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &term, 0);
    if (is_dispatching != 0) dispatch();
    waiting++;
    for (unsigned long turn = 0;; turn++)
        for (int i = 0; i < NUMBERS; i++) {
            if (numbers[i] != turn) wrong = 1;
            numbers[i] = turn + 1;
        }
    return is_dispatching;
}

/* Waits at the end of the stack, and for no signal. */
static void *wait_near_the_end(void *unused) {
    struct timespec day = {86400, 0};
    char here;
    volatile char *last = __builtin_alloca((size_t)(&here - stack) - NEAR);
    last[3] = 7;
    sleepers[sleeping++] = syscall(SYS_gettid);
    waiting++;
    for (;;) {
        syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &day, 0);
        wrong = 1;
    }
    return unused;
}

static void coroutine(void) { wait_near_the_end(0); }
static void pausing(void) {
    for (;;) pause();
}

static void run_coroutine(char *memory, void (*body)(void)) {
    static ucontext_t ours, theirs;
    getcontext(&theirs);
    theirs.uc_stack.ss_sp = memory;
    theirs.uc_stack.ss_size = STACK;
    makecontext(&theirs, body, 0);
    swapcontext(&ours, &theirs);
}

static int start(void *(*body)(void *), void *argument, void *memory) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (memory != 0 && pthread_attr_setstack(&attributes, memory, STACK) != 0) return -1;
    return pthread_create(&thread, &attributes, body, argument);
}

/* Says that all others wait or count. */
static void *ready(void *is_second) {
    while (waiting < (is_second != 0 ? 2 : 1)) usleep(1000);
    for (int i = 0; i < sleeping; i++) wait_for_thread(sleepers[i]);
    if (write(1, "ready\n", 6) != 6) _exit(1);
    pausing();
    return 0;
}

int main(int words_count, char **words) {
    const char *how = words_count > 1 ? words[1] : "plain";
    sigset_t all;
    sigfillset(&all);
    signal(SIGTERM, end);
    /* The loader finds it now: that takes more of a stack than a waiting thread has left. */
    syscall(SYS_getpid);
    lose();
    if (strcmp(how, "can dispatch") == 0) return dispatch() != 0;
    if (strcmp(how, "dispatch") == 0) {
        /* No call is made from "ready" on: this thread and the other compute. */
        signal(SIGSYS, on_dispatch);
        if (dispatch() != 0) return 2;
        if (start(count, (void *)&selector, 0) != 0) return 2;
        while (waiting < 1) {}
        if (write(1, "ready\n", 6) != 6) return 2;
        selector = 1;
        for (;;) __asm__ volatile("");
    }
    pthread_sigmask(SIG_SETMASK, &all, 0);
    char *memory = mmap(0, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 2;
    stack = memory + STACK;
    const int is_pool = strcmp(how, "pool") == 0, is_coroutine = strcmp(how, "coroutine") == 0;
    if (is_pool || is_coroutine) numbers = (volatile unsigned long *)(void *)(stack - NUMBERS * sizeof *numbers);
    if (start(count, 0, 0) != 0) return 2;
    if (is_pool && start(wait_near_the_end, 0, stack) != 0) return 2;
    if (start(ready, is_pool || is_coroutine ? memory : 0, 0) != 0) return 2;
    static char own[STACK];
    if (is_pool) run_coroutine(own, pausing);
    if (is_coroutine) run_coroutine(stack, coroutine);
    if (strcmp(how, "dead") == 0) pthread_exit(0);
    pausing();
}
