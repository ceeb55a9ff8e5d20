/*
 * A program that says what it works for, by heapsum_tag. Each kept block has its own size, so that a test knows which
 * tag it must have.
 *
 *   tags                nested tags, a realloc, tags set in vain, and what the calls return
 *   tags threads N      N threads at once, each with its own tag and with one that all share, a thousand times
 *   tags fork           a child goes on under its parent's tag, and another one is set in it
 *   tags many N         N tags, with one block of 10 bytes each; then a block of 777 under the first again
 *   tags long           tags of 255, 256 and 300 bytes, the last in UTF-8
 *   tags signals MS     for so many milliseconds a handler sets another tag and allocates, wherever it interrupts the
 *                       program, which allocates under its own. The allocator must bear that
 *   tags endless        a new tag for every block, until it is killed
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "heapsum.h"

static void *kept[1 << 16];
static int count;

__attribute__((noinline)) static void keep(size_t bytes) { kept[count++] = malloc(bytes); }

static int nested(void) {
    char name[] = "tenant 42";
    keep(100);
    const char *none = heapsum_tag(name);
    name[0] = 'X'; /* the text was copied */
    keep(200);
    const char *first = heapsum_tag("query \"a\"");
    keep(300);
    kept[count - 3] = realloc(kept[count - 3], 5000); /* of no tag; now it belongs to this one */
    const char *second = heapsum_tag(first);
    keep(400);
    const char *again = heapsum_tag(none);
    keep(500);
    heapsum_tag("tenant 42");
    keep(600);
    heapsum_tag("");
    keep(700);
    int is_recorded = first != NULL;
    return none == NULL
        && (!is_recorded
            || (strcmp(first, "tenant 42") == 0 && strcmp(second, "query \"a\"") == 0 && strcmp(again, "tenant 42") == 0
                && again == first));
}

static pthread_barrier_t begun;

static void *work(void *number) {
    char own[32];
    snprintf(own, sizeof own, "worker %d", (int)(intptr_t)number);
    pthread_barrier_wait(&begun);
    for (int i = 0; i < 1000; i++) {
        const char *none = heapsum_tag(own);
        void *volatile block = malloc(16);
        (void)block;
        const char *earlier = heapsum_tag("shared");
        block = malloc(32);
        heapsum_tag(earlier);
        block = malloc(64);
        heapsum_tag(none);
    }
    return NULL;
}

static void run_threads(int threads) {
    pthread_t ids[64];
    pthread_barrier_init(&begun, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) pthread_create(&ids[i], NULL, work, (void *)(intptr_t)i);
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
}

static void run_fork(void) {
    heapsum_tag("of the parent");
    keep(1000);
    pid_t child = fork();
    if (child == 0) {
        keep(2000);
        heapsum_tag("of the child");
        keep(3000);
        heapsum_tag("of the parent");
        keep(4000);
        fflush(NULL);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    keep(5000);
}

static void run_many(int tags) {
    char name[32];
    for (int i = 0; i < tags; i++) {
        snprintf(name, sizeof name, "tag number %d", i);
        heapsum_tag(name);
        keep(10);
    }
    const char *last = heapsum_tag("tag number 0");
    keep(777);
    heapsum_tag(last); /* counts with those beyond the limit again */
    keep(888);
}

static void run_long(void) {
    static char text[301];
    memset(text, 'a', 255);
    heapsum_tag(text);
    keep(255);
    memset(text, 'a', 256);
    heapsum_tag(text);
    keep(256);
    for (int i = 0; i < 300; i += 2) memcpy(text + i, "\xC3\xA4", 2);
    heapsum_tag(text);
    keep(300);
}

static volatile sig_atomic_t handled, is_over;
/* Each signal asks for the next one: where a handler takes longer than the time between two, as under an emulator, the
 * program still goes on. */
static void ask_for_signal(void) { setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 100}}, NULL); }
static void handle(int signal) {
    (void)signal;
    const char *earlier = heapsum_tag("handler");
    handled++;
    void *volatile block = malloc(48);
    free(block);
    heapsum_tag(earlier);
    if (!is_over) ask_for_signal();
}

/* As a request would: the function that allocates is called again and again, from under other tags. */
__attribute__((noinline)) static void allocate(size_t bytes) {
    void *volatile block = malloc(bytes);
    free(block);
}

static void run_signals(int milliseconds) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    struct timespec begun, now;
    sigaction(SIGALRM, &action, NULL);
    ask_for_signal();
    clock_gettime(CLOCK_MONOTONIC, &begun);
    long passed;
    do {
        for (int i = 0; i < 100; i++) {
            heapsum_tag("odd");
            allocate(24);
            heapsum_tag("even");
            allocate(40);
            allocate(40);
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        passed = (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
        /* Longer where the machine has other work, up to a minute. */
    } while (passed < milliseconds || (handled < 100 && passed < 60000));
    is_over = 1;
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
}

static void run_endless(void) {
    char name[256];
    for (unsigned long i = 0;; i++) {
        int length = snprintf(name, sizeof name, "%lu ", i);
        memset(name + length, 'x', 200);
        name[200] = '\0';
        heapsum_tag(name);
        void *volatile block = malloc(32);
        (void)block;
    }
}

int main(int arguments, char **words) {
    const char *what = arguments > 1 ? words[1] : "";
    int number = arguments > 2 ? atoi(words[2]) : 1;
    if (strcmp(what, "threads") == 0) run_threads(number);
    else if (strcmp(what, "fork") == 0) run_fork();
    else if (strcmp(what, "many") == 0) run_many(number);
    else if (strcmp(what, "long") == 0) run_long();
    else if (strcmp(what, "signals") == 0) run_signals(number);
    else if (strcmp(what, "endless") == 0) run_endless();
    else if (!nested()) return 1;
    heapsum_tag(NULL); /* stdout's buffer is of no tag */
    puts("done");
    return 0;
}
