/*
 * Threads that wait in several system calls, and one that computes in vector registers all the while. What a wait
 * answers without a reason, and a sum that is not what it should be, is said. SIGTERM ends the program.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../at_rest.h"

static atomic_int waiting, faults;
static int event, epoll;
void *volatile kept;

static __attribute__((noinline)) void lose(void) {
    kept = calloc(1, 1234);
    kept = calloc(1, 4321);
}

static void fault(const char *what) {
    faults++;
    printf("%s: %s\n", what, errno != 0 ? strerror(errno) : "came back");
}

static void *in_read(void *unused) {
    uint64_t number;
    for (;; fault("read")) {
        waiting++;
        (void)!read(event, &number, sizeof number);
    }
    return unused;
}

static void *in_nanosleep(void *unused) {
    for (;; fault("nanosleep")) {
        const struct timespec day = {86400, 0};
        waiting++;
        nanosleep(&day, 0);
    }
    return unused;
}

static void *in_futex(void *unused) {
    static int word;
    for (;; fault("futex")) {
        waiting++;
        syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0);
    }
    return unused;
}

/* EINTR is what it may answer if a tracer dies before it has seen the thread's stop. */
static void *in_epoll(void *unused) {
    waiting++;
    for (;;) {
        struct epoll_event some;
        int answer = epoll_wait(epoll, &some, 1, -1);
        if (answer >= 0 || errno != EINTR) fault("epoll_wait");
    }
    return unused;
}

/* The longest vectors that most processors have. Their values are not the same in any two. */
#if defined(__x86_64__)
#define VECTORS __attribute__((target("avx"), noinline))
#define IN_REGISTER "+x"
typedef double vector __attribute__((vector_size(32)));
#else
#define VECTORS __attribute__((noinline))
#define IN_REGISTER "+w"
typedef double vector __attribute__((vector_size(16)));
#endif
#define PARTS (int)(sizeof(vector) / sizeof(double))
#define TURNS 1000000

VECTORS static int computes_well(void) {
    vector sums[4], steps[4];
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < PARTS; k++) sums[i][k] = 0, steps[i][k] = i * PARTS + k + 1;
    vector a = sums[0], b = sums[1], c = sums[2], d = sums[3], e = steps[0], f = steps[1], g = steps[2], h = steps[3];
    for (int turn = 0; turn < TURNS; turn++) {
        a += e, b += f, c += g, d += h;
        __asm__ volatile("" : IN_REGISTER(a), IN_REGISTER(b), IN_REGISTER(c), IN_REGISTER(d));
        __asm__ volatile("" : IN_REGISTER(e), IN_REGISTER(f), IN_REGISTER(g), IN_REGISTER(h));
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < PARTS; k++)
            if (sums[i][k] != (double)TURNS * (i * PARTS + k + 1)) return 0;
    return 1;
}

static void *compute(void *unused) {
    waiting++;
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx"))
        for (;;) pause();
#endif
    for (;;) {
        errno = 0;
        if (!computes_well()) fault("vector registers");
    }
    return unused;
}

int main(void) {
    static void *(*const bodies[])(void *) = {in_read, in_nanosleep, in_futex, in_epoll, compute};
    const int count = sizeof bodies / sizeof *bodies;
    setvbuf(stdout, 0, _IONBF, 0);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, 0);
    event = eventfd(0, 0);
    epoll = epoll_create1(0);
    lose();
    for (int i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, bodies[i], 0) != 0) return 2;
    }
    wait_for_threads(count - 1, 'S'); /* all but the one that computes */
    while (waiting < count) usleep(1000);
    puts("ready");
    int number;
    sigwait(&term, &number);
    puts(faults == 0 && waiting == count ? "all well" : "not well");
    return faults != 0;
}
