/*
 * How long a dump takes, and what it makes other threads wait. The program holds LIVE small blocks from some hundred
 * stacks; WORKERS threads replace blocks of their own and time each malloc and each free. In turns there is a span in
 * which nothing is asked for, and one in which a child of ours (a recorded program answers other processes alone) sends
 * SIGUSR2. The child sees the dump appear, by its name; the first thread, which does nothing else, is the one that
 * writes it.
 *
 * With OWN the program has a handler itself, which writes a file of OWN bytes under that name: what the machine does
 * when anybody writes as much.
 *
 * Prints a line a round: milliseconds from the signal until the dump was there; then of the span without and of the one
 * with the dump the longest call and the time that all but one call in 10,000 stayed below, in microseconds; and the
 * longest time that the worker found itself off its processor in the one and the other, between two calls, where
 * nothing is called at all.
 *
 * usage: dump DIRECTORY LIVE WORKERS ROUNDS SPAN_MILLISECONDS [OWN]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chains.h"
#include "latencies.h"

#define MOST_WORKERS 64
#define WINDOW 1000

enum { NOT_COUNTED, WITHOUT, WITH, SPANS, ENDED };

struct worker {
    pthread_t thread;
    _Atomic int seen; /* the span that it counts for now */
    struct latencies calls[SPANS], pauses[SPANS];
    uint64_t random;
};

static struct worker workers[MOST_WORKERS];
static _Atomic int span;
static const char *directory;
static uint64_t own_bytes;
static int dumps;

static void path_of(char *path, size_t room, const char *prefix, int pid, int number) {
    snprintf(path, room, "%s/%sdump.%d.%d.heap", directory, prefix, pid, number);
}

static void *allocate(uint64_t random) { return even(10, (unsigned)(random >> 40) & 511, 16 + (random >> 20) % 112); }

static void *work(void *argument) {
    struct worker *self = argument;
    void *blocks[WINDOW] = {NULL};
    for (uint64_t last = nanoseconds_now();;) {
        int current = atomic_load_explicit(&span, memory_order_acquire);
        atomic_store_explicit(&self->seen, current, memory_order_release);
        if (current == ENDED) return NULL;
        uint64_t random = next_random(&self->random);
        void **slot = &blocks[random % WINDOW];
        uint64_t start = nanoseconds_now();
        free(*slot);
        uint64_t middle = nanoseconds_now();
        *slot = allocate(random);
        uint64_t end = nanoseconds_now();
        latencies_add(&self->pauses[current], start - last);
        latencies_add(&self->calls[current], middle - start);
        latencies_add(&self->calls[current], end - middle);
        last = end;
    }
}

/* The child: at a byte it sends the signal, waits for the dump of that number, and answers with nanoseconds; 0 if it
 * never came. */
static void ask(int from, int to, pid_t program) {
    char path[4096];
    for (int number; read(from, &number, sizeof number) == sizeof number;) {
        path_of(path, sizeof path, "", program, number);
        uint64_t start = nanoseconds_now(), taken = 0;
        kill(program, SIGUSR2);
        while (taken < 30000000000u) {
            if (access(path, F_OK) == 0) break;
            nanosleep(&(struct timespec){0, 100000}, NULL);
            taken = nanoseconds_now() - start;
        }
        taken = access(path, F_OK) == 0 ? nanoseconds_now() - start : 0;
        if (write(to, &taken, sizeof taken) != sizeof taken) break;
    }
    _exit(0);
}

static void write_as_much(int number) {
    static char bytes[1 << 16], whole[4096], partial[4096];
    (void)number;
    int saved = errno;
    path_of(whole, sizeof whole, "", getpid(), ++dumps); /* snprintf of numbers and strings allocates nothing */
    path_of(partial, sizeof partial, ".", getpid(), dumps);
    int fd = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (uint64_t left = own_bytes; fd >= 0 && left > 0;) {
        ssize_t written = write(fd, bytes, left < sizeof bytes ? left : sizeof bytes);
        if (written <= 0) break;
        left -= (uint64_t)written;
    }
    if (fd >= 0 && close(fd) == 0) rename(partial, whole);
    errno = saved;
}

static void change_span(int to, unsigned count) {
    atomic_store_explicit(&span, to, memory_order_release);
    for (unsigned i = 0; i < count; i++)
        while (atomic_load_explicit(&workers[i].seen, memory_order_acquire) != to)
            nanosleep(&(struct timespec){0, 50000}, NULL);
}

static void sleep_until(uint64_t moment) { /* through signals */
    for (uint64_t now; (now = nanoseconds_now()) < moment;)
        nanosleep(
            &(struct timespec){(time_t)((moment - now) / 1000000000u), (long)((moment - now) % 1000000000u)}, NULL);
}

/* The longest call, the one in 10,000 and the longest pause of a span that has ended, which is empty again then. */
static void print_span(int which, unsigned count) {
    static struct latencies calls, pauses;
    latencies_clear(&calls);
    latencies_clear(&pauses);
    for (unsigned i = 0; i < count; i++) {
        latencies_merge(&calls, &workers[i].calls[which]);
        latencies_merge(&pauses, &workers[i].pauses[which]);
        latencies_clear(&workers[i].calls[which]);
        latencies_clear(&workers[i].pauses[which]);
    }
    printf(" %.1f %.1f %.1f", (double)calls.longest / 1e3, (double)latencies_but_one_in(&calls, 10000) / 1e3,
        (double)pauses.longest / 1e3);
}

int main(int count, char **arguments) {
    if (count != 6 && count != 7) {
        fprintf(stderr, "usage: dump DIRECTORY LIVE WORKERS ROUNDS SPAN_MILLISECONDS [OWN]\n");
        return 64;
    }
    directory = arguments[1];
    uint64_t live = strtoull(arguments[2], NULL, 10), span_nanoseconds = strtoull(arguments[5], NULL, 10) * 1000000;
    unsigned worker_count = (unsigned)atoi(arguments[3]), rounds = (unsigned)atoi(arguments[4]);
    if (live < 1 || worker_count < 1 || worker_count > MOST_WORKERS || rounds < 1 || span_nanoseconds < 1) return 64;
    if (count == 7) {
        own_bytes = strtoull(arguments[6], NULL, 10);
        struct sigaction action = {.sa_handler = write_as_much, .sa_flags = SA_RESTART};
        sigaction(SIGUSR2, &action, NULL);
    }

    int questions[2], answers[2];
    pid_t self = getpid();
    if (pipe(questions) != 0 || pipe(answers) != 0) return 1;
    pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
        close(questions[1]);
        close(answers[0]);
        ask(questions[0], answers[1], self);
    }

    void **blocks = malloc(live * sizeof *blocks);
    if (blocks == NULL) return 1;
    uint64_t random = 88172645463325252u;
    for (uint64_t i = 0; i < live; i++)
        if ((blocks[i] = allocate(next_random(&random))) == NULL) return 1;
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &asked, NULL); /* the workers inherit it: this thread alone takes the signal */
    for (unsigned i = 0; i < worker_count; i++) {
        workers[i].random = i * 0x9E3779B97F4A7C15u + 1;
        for (int which = 0; which < SPANS; which++) {
            latencies_clear(&workers[i].calls[which]);
            latencies_clear(&workers[i].pauses[which]);
        }
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) return 1;
    }
    pthread_sigmask(SIG_UNBLOCK, &asked, NULL);
    sleep_until(nanoseconds_now() + 200000000); /* warm */

    for (unsigned round = 1; round <= rounds; round++) {
        change_span(WITHOUT, worker_count);
        sleep_until(nanoseconds_now() + span_nanoseconds);
        change_span(WITH, worker_count);
        uint64_t until = nanoseconds_now() + span_nanoseconds, taken;
        if (write(questions[1], &(int){(int)round}, sizeof(int)) != sizeof(int)) return 1;
        while (read(answers[0], &taken, sizeof taken) != sizeof taken)
            if (errno != EINTR) return 1;
        if (taken == 0) {
            fprintf(stderr, "dump: no dump appeared in %s\n", directory);
            kill(child, SIGKILL);
            return 1;
        }
        sleep_until(until);
        change_span(NOT_COUNTED, worker_count);
        printf("%.2f", (double)taken / 1e6);
        print_span(WITHOUT, worker_count);
        print_span(WITH, worker_count);
        printf("\n");
    }
    change_span(ENDED, 0);
    for (unsigned i = 0; i < worker_count; i++) pthread_join(workers[i].thread, NULL);
    close(questions[1]);
    waitpid(child, NULL, 0);
    return 0;
}
