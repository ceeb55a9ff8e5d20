/*
 * A program that says of its own memory what nobody could know: by heapsum.h, and by LeakSanitizer's names, which it
 * brings weak. Each block has a size of its own.
 *
 *   hints ignore   blocks that nobody holds, some of them said to be no leaks; then it prints "ready" and waits
 *   hints root     pools that nobody holds, of which some are said to be roots
 *   hints ask      asks for verdicts, and prints the answers
 *   hints late     asks for one when a line has come in
 *   hints fork     asks for one in a child that goes on with its parent's memory
 *   hints busy     asks for verdicts while other threads allocate, end and start programs; prints the last answer
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heapsum.h"

#include "registers.h"

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));
void __lsan_ignore_object(const void *block) __attribute__((weak));
void __lsan_register_root_region(const void *start, size_t bytes) __attribute__((weak));
void __lsan_unregister_root_region(const void *start, size_t bytes) __attribute__((weak));
void __lsan_do_leak_check(void) __attribute__((weak));
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

#define NOINLINE __attribute__((noinline))

static NOINLINE void *volatile *block(size_t bytes) { return calloc(1, bytes); }

static NOINLINE void ignore(void) {
    heapsum_ignore((void *)block(104));
    heapsum_ignore((char *)block(208) + 100);         /* its inside */
    heapsum_ignore((char *)block(3000000) + 2999999); /* the inside of a large one, to the last byte */
    void *volatile *holder = block(304);              /* and what it leads to */
    holder[0] = (void *)block(312);
    heapsum_ignore((void *)holder);
    heapsum_ignore((void *)block(400)); /* twice is once */
    void *volatile *twice = block(408);
    heapsum_ignore((void *)twice);
    heapsum_ignore((void *)twice);
    heapsum_ignore(NULL);
    heapsum_ignore((void *)16); /* no block */
    if (__lsan_ignore_object) __lsan_ignore_object((void *)block(504));
    if (__lsan_disable) {
        __lsan_disable();
        block(608);
        __lsan_disable();
        void *volatile grown = malloc(616);
        grown = realloc(grown, 200000);
        if (posix_memalign((void **)&grown, 64, 640) != 0) abort();
        __lsan_enable();
        block(624);
        for (int i = 0; i < 100000; i++) free((void *)block(632)); /* come and gone: they take no room */
        __lsan_enable();
        __lsan_enable(); /* one too many */
    }
    /* Not ignored: what comes after, and what has got the address of one that was. */
    block(704);
    void *volatile *gone = block(808);
    uintptr_t place = (uintptr_t)gone;
    heapsum_ignore((void *)gone);
    free((void *)gone);
    gone = (void *)malloc(804);
    printf("%s\n", (uintptr_t)gone == place ? "the same address" : "another address");
}

static NOINLINE void root(void) {
    void *volatile *pool = block(4096), *volatile *other = block(5000), *volatile *third = block(6000);
    pool[100] = (void *)block(1104);
    other[100] = (void *)block(1208);
    third[100] = (void *)block(1312);
    heapsum_root((void *)pool, 4096);
    heapsum_root((void *)other, 5000);
    heapsum_unroot((void *)other, 4999); /* not the same bounds: nothing happens */
    heapsum_unroot((void *)other, 5000);
    if (__lsan_register_root_region) {
        __lsan_register_root_region((void *)third, 6000);
        __lsan_unregister_root_region((void *)third, 6000);
        __lsan_register_root_region((char *)third + 800, 8); /* that word alone */
    }
    heapsum_root((void *)~(uintptr_t)0, 100); /* no memory: nothing happens */
}

static NOINLINE void wipe(void) {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

static NOINLINE void ready(void) {
    wipe();
    FORGET_REGISTERS;
    puts("ready");
    fflush(stdout);
}

static NOINLINE int ask(void) {
    wipe();
    return heapsum_leaks();
}

static volatile int stop;
static void *work(void *unused) {
    for (int i = 0; i < 2000; i++) free((void *)block(64));
    return unused;
}
/* Threads and programs that come and go. */
static void *start(void *unused) {
    while (!stop) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL) != 0) abort();
        pid_t child = fork();
        if (child == 0) execl("/bin/true", "true", (char *)NULL);
        if (child > 0) waitpid(child, NULL, 0);
        pthread_join(thread, NULL);
    }
    return unused;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "ignore") == 0 || strcmp(what, "root") == 0) {
        what[0] == 'i' ? ignore() : root();
        ready();
        for (;;) pause();
    } else if (strcmp(what, "ask") == 0) {
        static void *volatile *volatile kept;
        kept = block(777);
        printf("%d\n", ask());
        block(333);
        printf("%d\n", ask());
        printf("%d\n", __lsan_do_recoverable_leak_check ? __lsan_do_recoverable_leak_check() : -2);
        if (__lsan_do_leak_check) __lsan_do_leak_check();
        puts("goes on");
    } else if (strcmp(what, "late") == 0) {
        char line[16];
        ready();
        if (fgets(line, sizeof line, stdin) != NULL) printf("%d\n", ask());
    } else if (strcmp(what, "fork") == 0) {
        void *kept = (void *)block(333);
        pid_t child = fork();
        if (child == 0) {
            block(444);
            printf("%d\n", ask());
            fflush(stdout);
            _exit(0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        printf("%d\n", ask());
        free(kept);
        return status;
    } else if (strcmp(what, "busy") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, start, NULL);
        int answer = 0;
        for (int i = 0; i < 5; i++) answer = ask();
        stop = 1;
        pthread_join(thread, NULL);
        printf("%d\n", answer);
    }
    return 0;
}
