/*
 * Allocates by all of C's functions, in threads of libc's own stack size, in a signal's handler and in a fork's child,
 * and prints what leaf() holds: bytes and blocks. With an argument it waits then, to be dumped or killed. Built for
 * musl too, and statically.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 8
#define HELD 500
#define ROUNDS 100

static void *held[THREADS][HELD], *volatile others[16], *in_handler[20], *volatile in_child;
static volatile sig_atomic_t handled;

__attribute__((noinline)) static void *leaf(size_t bytes) {
    void *block = malloc(bytes);
    memset(block, 1, bytes);
    return block;
}

static size_t size_of(long i, long round) { return 24 + (size_t)(i * 7 + round) % 900; }

__attribute__((noinline)) static void work(long thread) {
    for (long round = 0; round < ROUNDS; round++)
        for (long i = 0; i < HELD; i++) {
            free(held[thread][i]);
            held[thread][i] = leaf(size_of(i, round));
        }
}

static void *run(void *thread) {
    work((long)thread);
    return held[(long)thread][0];
}

static void handle(int signal) {
    void *block = leaf(77);
    in_handler[handled++] = block;
    (void)signal;
}

/* Keeps 11 blocks of 70,400 bytes in all, one of which strdup makes. */
__attribute__((noinline)) static int rest(void) {
    void *block;
    others[0] = calloc(10, 640);
    others[1] = aligned_alloc(64, 6400);
    if (posix_memalign(&block, 4096, 6400) != 0 || (size_t)block % 4096 != 0) return 1;
    others[2] = block;
    others[3] = memalign(256, 6400);
    others[4] = realloc(NULL, 6400);
    others[5] = realloc(malloc(100), 6400);
    others[6] = realloc(malloc(64000), 6400);
    others[7] = strdup(memset(calloc(1, 6400), 'x', 6399));
    others[8] = malloc(6400);
    others[9] = calloc(6400, 1);
    for (int i = 0; i < 640 * 10; i++)
        if (((char *)others[0])[i] != 0 || ((char *)others[9])[i] != 0) return 1;
    return (size_t)others[1] % 64 != 0 || (size_t)others[3] % 256 != 0 || calloc((size_t)-1, 2) != NULL;
}

int main(int count, char **arguments) {
    (void)arguments;
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, run, (void *)i) != 0) return 2;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    signal(SIGALRM, handle);
    for (int i = 0; i < 20; i++) raise(SIGALRM);
    if (rest() != 0) return 3;
    pid_t child = fork();
    if (child == 0) {
        in_child = leaf(500);
        free(held[0][0]);
        _exit(0);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return 4;
    size_t bytes = 20 * 77, blocks = 20;
    for (long i = 0; i < THREADS * HELD; i++, blocks++) bytes += size_of(i % HELD, ROUNDS - 1);
    printf("%zu %zu\n", bytes, blocks);
    fflush(stdout);
    if (count > 1) pause();
    return 0;
}
