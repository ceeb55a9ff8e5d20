/*
 * A program that brings functions of the C library's names. Built with one of
 *   SIGACTION  a sigaction that calls the next one by __sigaction, as language runtimes with signal stacks of their own
 * do CLOCK      a clock_gettime that allocates LATE       an allocator that must not be called before main has set it
 * up PARTIAL    malloc and free that pass on to the next ones; calloc and realloc stay the library's
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(SIGACTION)
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
    static int (*next)(int, const struct sigaction *, struct sigaction *);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "__sigaction");
    return next(number, action, before);
}
int main(void) {
    struct sigaction before;
    return printf("%d\n", sigaction(SIGUSR2, NULL, &before)) != 2;
}
#elif defined(CLOCK)
static int calls;
int clock_gettime(clockid_t clock, struct timespec *now) {
    (void)clock;
    void *note = malloc(77);
    calls++;
    memset(now, 0, sizeof *now);
    free(note);
    return 0;
}
int main(void) {
    struct timespec now;
    for (int i = 0; i < 10; i++) free(malloc(100));
    void *kept = malloc(4321);
    clock_gettime(CLOCK_REALTIME, &now);
    return printf("%d calls, %d\n", calls, kept != NULL) < 0;
}
#elif defined(LATE)
static int ready;
static _Alignas(32) char pool[1 << 20];
static size_t used;
void *malloc(size_t bytes) {
    if (!ready) abort();
    void *block = pool + used;
    used += (bytes + 31) & ~(size_t)31;
    return block;
}
void free(void *block) {
    if (block != NULL && !ready) abort();
}
void *calloc(size_t count, size_t size) { return memset(malloc(count * size), 0, count * size); }
void *realloc(void *block, size_t bytes) {
    void *moved = malloc(bytes);
    if (block != NULL) memcpy(moved, block, bytes);
    return moved;
}
int main(void) {
    ready = 1;
    return write(1, "set up\n", 7) != 7;
}
#elif defined(PARTIAL)
static void *(*next_malloc)(size_t);
static void (*next_free)(void *);
static int calls;
void *malloc(size_t bytes) {
    if (next_malloc == NULL) *(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
    calls++;
    return next_malloc(bytes);
}
void free(void *block) {
    if (next_free == NULL) *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    next_free(block);
}
int main(void) {
    void *kept = realloc(malloc(100), 5000);
    free(calloc(10, 10));
    free(strdup("text"));
    return printf("%d, %d\n", calls > 0, kept != NULL) < 0;
}
#endif
