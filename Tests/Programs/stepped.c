/*
 * Three blocks, and one more from a signal handler at each instruction of their allocation: the processor's trap flag
 * sends SIGTRAP after each. Prints how many the handler has allocated. Run it with an allocator that a signal may leave
 * at any point (bump.c).
 *
 * "stepped stay" and "stepped leave": the same in many threads that have allocated nothing before. In each thread the
 * handler begins to allocate some steps later than in the thread before, and allocates at FEW steps. With "leave" it
 * then jumps out of the first block's allocation. Prints the number of threads as well.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static volatile sig_atomic_t steps;
static void *volatile kept;

static __attribute__((noinline)) void in_handler(void) {
    kept = malloc(24);
    steps++;
}
static void step(int signal) {
    (void)signal;
    in_handler();
}

#define FEW 5
#define LATER 41                 /* steps by which a thread's handler begins later than in the thread before */
static volatile long begin, now; /* the step at which this thread's handler begins; the thread's steps so far */
static volatile sig_atomic_t leaves;
static sigjmp_buf back;

static void step_later(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    if (now++ < begin) return;
    in_handler();
    if (now < begin + FEW) return;
    if (leaves) siglongjmp(back, 1);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~0x100;
}

/* Functions of their own, because a compiler may use the memory below the stack pointer. */
void trap_flag_on(void), trap_flag_off(void);
__asm__(".text\n"
        ".type trap_flag_on, @function\n"
        "trap_flag_on: pushfq\n"
        "    orq $0x100, (%rsp)\n"
        "    popfq\n"
        "    ret\n"
        ".size trap_flag_on, . - trap_flag_on\n"
        ".type trap_flag_off, @function\n"
        "trap_flag_off: pushfq\n"
        "    andq $~0x100, (%rsp)\n"
        "    popfq\n"
        "    ret\n"
        ".size trap_flag_off, . - trap_flag_off\n");

#ifndef ALLOCATE_BY
#define ALLOCATE_BY malloc(72)
#endif
#define ALLOCATE(name) \
    static __attribute__((noinline)) void name(void) { \
        trap_flag_on(); \
        void *block = ALLOCATE_BY; \
        trap_flag_off(); \
        kept = block; \
    }
ALLOCATE(first)
ALLOCATE(second)
ALLOCATE(third)

static __attribute__((noinline)) void afterwards(void) { kept = malloc(80); }

static void *be_new(void *unused) {
    (void)unused;
    if (sigsetjmp(back, 1) == 0) first();
    else trap_flag_off();
    afterwards();
    return NULL;
}

/* Until a thread's first block needs no more steps than this. Returns the number of threads. */
static long step_in_threads(void) {
    struct sigaction action = {.sa_sigaction = step_later, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGTRAP, &action, NULL) != 0) return -1;
    long threads = 0;
    do {
        pthread_t thread;
        now = 0;
        begin = LATER * threads;
        if (pthread_create(&thread, NULL, be_new, NULL) != 0) return -1;
        pthread_join(thread, NULL);
        threads++;
    } while (now >= begin);
    return threads;
}

int main(int count, char **arguments) {
    if (count > 1) {
        leaves = strcmp(arguments[1], "leave") == 0;
        const long threads = step_in_threads();
        printf("%d %ld\n", (int)steps, threads);
        return threads < 0;
    }
    struct sigaction action = {.sa_handler = step};
    if (sigaction(SIGTRAP, &action, NULL) != 0) return 1;
    first();
    second();
    third();
    printf("%d\n", (int)steps);
    return 0;
}
