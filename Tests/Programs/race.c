/*
 * Three threads in a ring: the first allocates, the second frees what it got from the first, the third allocates again
 * at once, mostly at the same address, and hands on to the first, which frees. Every 1,000th block of the first is
 * left: exactly 500 blocks of 40 bytes in leave(). Each hand-over is one atomic word, so the threads race as closely as
 * they can where each has a processor. Between two threads there are many such words in a ring: where a thread has to
 * wait for a processor, which takes milliseconds beside a busy process, the others go on meanwhile.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 500000
#define PLACES 4096
#define AHEAD 1024 /* so many rounds the first thread is ahead of what it gets back */
#define LOOKS 200  /* before a thread gives its processor away */
struct ring {
    _Atomic(void *) places[PLACES];
};
static struct ring to_second, to_third, to_first;
static void *volatile kept[ROUNDS / 1000];

static void wait_a_little(int *looks) {
    if (++*looks % LOOKS == 0) sched_yield();
}
static void give(struct ring *ring, int i, void *block) {
    void *empty = NULL;
    for (int looks = 0; !atomic_compare_exchange_weak(&ring->places[i % PLACES], &empty, block); empty = NULL)
        wait_a_little(&looks);
}
static void *take(struct ring *ring, int i) {
    void *block;
    for (int looks = 0; (block = atomic_exchange(&ring->places[i % PLACES], NULL)) == NULL;) wait_a_little(&looks);
    return block;
}

__attribute__((noinline)) static void leave(int i) { kept[i] = malloc(40); }

static void *first(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 1000 == 0) leave(i / 1000);
        give(&to_second, i, malloc(40));
        if (i >= AHEAD) free(take(&to_first, i - AHEAD));
    }
    for (int i = ROUNDS - AHEAD; i < ROUNDS; i++) free(take(&to_first, i));
    return unused;
}
static void *second(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        void *block = take(&to_second, i);
        free(block);
        give(&to_third, i, &to_third); /* a ticket */
    }
    return unused;
}
static void *third(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        take(&to_third, i);
        give(&to_first, i, i % 3 == 0 ? realloc(malloc(40), 48) : malloc(40));
    }
    return unused;
}

int main(void) {
    pthread_t threads[3];
    pthread_create(&threads[0], NULL, first, NULL);
    pthread_create(&threads[1], NULL, second, NULL);
    pthread_create(&threads[2], NULL, third, NULL);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    puts("done");
    return 0;
}
