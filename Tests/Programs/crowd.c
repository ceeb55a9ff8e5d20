/*
 * Threads that come and go, eight at a time, as its first argument says, so many as its second: "joined"; "detached";
 * "cancelled" (half of them while they allocate, half while they wait); "destructors", which allocate and free in the
 * destructors of thread-specific data, four rounds of them. Each leaves exactly one block of 48 bytes in leave(). Says
 * how many there were, and "flat" where the resident size did not grow by more than 8 MB from the first tenth on, less
 * the blocks themselves.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sem_t places, ended;
static pthread_key_t key;
static const char *how;
static int never[2];

__attribute__((noinline)) static void leave(void) {
    void *volatile block = malloc(48);
    (void)block;
}

static void destroy(void *value) {
    long round = (long)value;
    void *volatile block = malloc((size_t)round * 100);
    if (round < 4) pthread_setspecific(key, (void *)(round + 1)); /* PTHREAD_DESTRUCTOR_ITERATIONS */
    free(realloc(block, 5000));
}

static void clean_up(void *block) { free(block); }

static void *work(void *number) {
    leave();
    if (strcmp(how, "destructors") == 0) pthread_setspecific(key, (void *)1L);
    if (strcmp(how, "cancelled") == 0) {
        void *volatile block = malloc(300);
        pthread_cleanup_push(clean_up, block);
        char byte;
        if ((long)number % 2 == 0 && read(never[0], &byte, 1) != 0) abort();
        for (;;) {
            void *volatile other = malloc(100);
            free(other);
            pthread_testcancel();
        }
        pthread_cleanup_pop(1);
    }
    for (int i = 0; i < 20; i++) {
        void *volatile block = malloc(10 + (size_t)i * 50);
        free(block);
    }
    if (strcmp(how, "detached") == 0) sem_post(&places);
    return NULL;
}

static long resident(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*d %ld", &pages) != 1) abort();
    fclose(file);
    return pages * 4096;
}

int main(int count, char **arguments) {
    if (count != 3 || pipe(never) != 0) return 64;
    how = arguments[1];
    long total = atol(arguments[2]), early = 0;
    sem_init(&places, 0, 8);
    sem_init(&ended, 0, 0);
    pthread_key_create(&key, destroy);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    int detached = strcmp(how, "detached") == 0;
    if (detached) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t threads[8];
    for (long i = 0; i < total; i++) {
        if (detached) sem_wait(&places);
        else if (i >= 8) {
            if (strcmp(how, "cancelled") == 0) pthread_cancel(threads[i % 8]);
            pthread_join(threads[i % 8], NULL);
        }
        if (i == total / 10) early = resident();
        while (pthread_create(&threads[i % 8], &attributes, work, (void *)i) != 0)
            usleep(1000); /* detached ones may still be ending */
    }
    for (int i = 0; i < 8; i++) {
        if (detached) sem_wait(&places);
        else {
            if (strcmp(how, "cancelled") == 0) pthread_cancel(threads[i]);
            pthread_join(threads[i], NULL);
        }
    }
    printf("%ld threads\n", total);
    if (detached) usleep(100000); /* the last ones past their post */
    long grown = resident() - early - total * 64;
    printf(grown < 8 << 20 ? "flat\n" : "grown by %ld\n", grown);
    return 0;
}
