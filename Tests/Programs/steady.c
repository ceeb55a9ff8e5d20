/*
 * Four threads that each hold 5,000 blocks all the while, of sizes from every map, and churn others beside them. Says
 * "ready" when all are held; ends when its standard input does. The held ones come from hold(), 20,000 in all.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 4
#define HELD 5000
static void *volatile held[THREADS][HELD];
static atomic_int holding, done;

__attribute__((noinline)) static void hold(int thread, int i) {
    static const size_t sizes[] = {1, 24, 100, 500, 600, 4000, 9000, 70000, 140000};
    held[thread][i] = malloc(i % 100 == 0 ? sizes[i / 100 % 9] : 16 + (size_t)i % 200);
}

static void *work(void *argument) {
    int thread = (int)(long)argument;
    for (int i = 0; i < HELD; i++) hold(thread, i);
    atomic_fetch_add(&holding, 1);
    for (unsigned round = 0; !atomic_load(&done); round++) {
        char *volatile block = malloc(round % 3000);
        block = realloc(block, 1 + round % 100000);
        free(block);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    while (atomic_load(&holding) < THREADS) usleep(1000);
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(0, &byte, 1) != 0) {} /* interrupted by dumps, or a byte that means nothing */
    atomic_store(&done, 1);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    puts("done");
    return 0;
}
