/* Limits its own address space in the way that is named, while threads allocate, and then takes three quarters of it
 * by blocks of 3 MB. Prints how many of those it got. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIMIT (1200ul << 20)

static volatile int over;
static void *kept[4][2000];

static void *allocate(void *argument) {
    void **mine = argument;
    for (unsigned i = 0; !over || i < 2000; i = (i + 1) % 4000) {
        if (i >= 2000) continue;
        free(mine[i]);
        mine[i] = malloc(16 + i * 7);
        if (over && i == 1999) break;
    }
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t threads[4];
    struct rlimit limit = {LIMIT, LIMIT};
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, allocate, kept[i]);
    usleep(20000);
    const char *way = arguments[count - 1];
    int result = !strcmp(way, "setrlimit") ? setrlimit(RLIMIT_AS, &limit)
        : !strcmp(way, "prlimit")          ? prlimit(0, RLIMIT_AS, &limit, NULL)
        : !strcmp(way, "number")           ? syscall(SYS_prlimit64, getpid(), RLIMIT_AS, &limit, NULL)
                                           : syscall(SYS_setrlimit, RLIMIT_AS, &limit);
    if (syscall(SYS_prlimit64, 0, RLIMIT_AS, (void *)1, NULL) != -1) return 2;
    unsigned got = 0;
    for (unsigned i = 0; i < 200; i++) got += malloc(3 << 20) != NULL;
    usleep(20000);
    over = 1;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%d %u\n", result, got);
    return 0;
}
