/*
 * Threads that wait in epoll_wait while the program is stopped again and again. It says at SIGTERM whether all was
 * well. usage: turns signals|calls signals: five threads wait, and another process sends a signal every fiftieth of a
 * second. Each signal may end the wait of one thread, not of several. calls: a thread waits in two places in turn, and
 * is woken in each. Whoever led it back to the other place would leave it there for good.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../at_rest.h"

static atomic_long handled, interrupted, rounds;
static int places[2], events[2];

static void handle(int signal) {
    (void)signal;
    handled++;
}

static void *wait_for_signals(void *nothing) {
    struct epoll_event event;
    for (;;)
        if (epoll_wait(places[0], &event, 1, -1) < 0 && errno == EINTR) interrupted++;
    return nothing;
}

static void *wait_in_turn(void *nothing) {
    struct epoll_event event;
    uint64_t count;
    for (int turn = 0;; turn = !turn) {
        while (epoll_wait(places[turn], &event, 1, -1) != 1) {}
        (void)!read(events[turn], &count, sizeof count);
        rounds++;
    }
    return nothing;
}

static void *wake_in_turn(void *nothing) {
    const uint64_t one = 1;
    for (long round = 0;; round++) {
        (void)!write(events[round & 1], &one, sizeof one);
        while (rounds == round) usleep(20);
    }
    return nothing;
}

static void start(void *(*work)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, 0, work, 0) != 0) exit(2);
}

int main(int count, char **words) {
    const int is_signals = count > 1 && strcmp(words[1], "signals") == 0;
    setvbuf(stdout, 0, _IONBF, 0);
    sigset_t term, both;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    both = term;
    sigaddset(&both, SIGUSR1);
    for (int i = 0; i < 2; i++) {
        places[i] = epoll_create1(0);
        events[i] = eventfd(0, 0);
        struct epoll_event event = {.events = EPOLLIN};
        epoll_ctl(places[i], EPOLL_CTL_ADD, events[i], &event);
    }
    sigprocmask(SIG_BLOCK, &term, 0);
    pid_t sender = 0;
    if (is_signals) {
        struct sigaction action = {.sa_handler = handle};
        sigaction(SIGUSR1, &action, 0);
        for (int i = 0; i < 5; i++) start(wait_for_signals);
        sigprocmask(SIG_BLOCK, &both, 0);
        wait_for_threads(5, 'S');
        sender = fork();
        if (sender == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;; usleep(20000)) kill(getppid(), SIGUSR1);
        }
    } else {
        start(wait_in_turn);
        start(wake_in_turn);
    }
    puts("ready");
    int number;
    sigwait(&term, &number);
    int is_well;
    if (is_signals) {
        kill(sender, SIGKILL);
        waitpid(sender, 0, 0);
        usleep(100000);
        is_well = handled > 0 && interrupted <= handled;
    } else {
        const long before = rounds;
        for (int i = 0; i < 200 && rounds < before + 100; i++) usleep(50000);
        is_well = rounds >= before + 100;
    }
    if (is_well) puts("all well");
    else printf("%ld waits ended by %ld signals, %ld rounds\n", (long)interrupted, (long)handled, (long)rounds);
    _exit(is_well ? 0 : 1);
}
