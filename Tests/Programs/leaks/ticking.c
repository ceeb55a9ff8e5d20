/*
 * Threads that are signalled a thousand times a second while they compute, sleep and allocate, and check all the while
 * that no register, no mask and no sum is changed. Ends at SIGTERM.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static atomic_long ticks, faults;
static volatile sig_atomic_t is_over;

static void tick(int signal) {
    (void)signal;
    ticks++;
}
static void end(int signal) {
    (void)signal;
    is_over = 1;
}

static void *compute(void *unused) {
    while (!is_over) {
        unsigned long sum = 0;
        double real = 0;
        for (int i = 0; i < 1000000; i++) {
            sum += (unsigned long)i * 2654435761u;
            real += i * 0.5;
        }
        if (sum != 17497724048741335264ul || real != 249999750000.0) {
            if (faults++ == 0) printf("%lu %f\n", sum, real);
        }
    }
    return unused;
}

static void *allocate(void *unused) {
    unsigned char *kept[64] = {0};
    for (unsigned turn = 0; !is_over; turn++) {
        unsigned place = turn % 64;
        if (kept[place] != 0 && kept[place][100] != place) faults++;
        kept[place] = realloc(kept[place], 128 + turn % 4096);
        memset(kept[place], (int)place, 128);
    }
    for (int i = 0; i < 64; i++) free(kept[i]);
    return unused;
}

static void *wait_in_kernel(void *unused) {
    while (!is_over) {
        struct timespec short_time = {0, 2000000}, rest = {0, 0};
        if (nanosleep(&short_time, &rest) != 0 && errno != EINTR) faults++;
        errno = 0;
    }
    return unused;
}

static void *suspend(void *unused) {
    sigset_t alarm, before, now, none;
    sigemptyset(&none);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, &before);
    while (!is_over) {
        if (sigsuspend(&none) != -1 || errno != EINTR) faults++;
        pthread_sigmask(SIG_SETMASK, 0, &now);
        if (!sigismember(&now, SIGALRM)) faults++;
    }
    return unused;
}

int main(void) {
    setvbuf(stdout, 0, _IONBF, 0);
    struct sigaction on_tick = {.sa_handler = tick}, on_end = {.sa_handler = end};
    sigaction(SIGALRM, &on_tick, 0);
    sigaction(SIGTERM, &on_end, 0);
    pthread_t threads[4];
    pthread_create(&threads[0], 0, compute, 0);
    pthread_create(&threads[1], 0, allocate, 0);
    pthread_create(&threads[2], 0, wait_in_kernel, 0);
    pthread_create(&threads[3], 0, suspend, 0);
    struct itimerval interval = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &interval, 0);
    puts("ready");
    while (!is_over) pthread_kill(threads[3], SIGALRM), usleep(5000);
    for (int i = 0; i < 4; i++) {
        pthread_kill(threads[i], SIGALRM);
        pthread_join(threads[i], 0);
    }
    printf("%s\n", faults == 0 && ticks > 100 ? "all well" : "not well");
    return faults != 0;
}
