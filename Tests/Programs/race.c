/*
 * Three threads in a ring: the first allocates, the second frees what it got from the first, the third allocates again
 * at once, mostly at the same address, and hands on to the first, which frees. Every 1,000th block of the first is
 * left: exactly 500 blocks of 40 bytes in leave(). Each hand-over is one atomic word, so the threads race as closely as
 * they can.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 500000
static _Atomic(void *) to_second, to_third, to_first;
static void *volatile kept[ROUNDS / 1000];

static void give(_Atomic(void *) *box, void *block) {
    void *empty = NULL;
    while (!atomic_compare_exchange_weak(box, &empty, block)) {
        empty = NULL;
        sched_yield();
    }
}
static void *take(_Atomic(void *) *box) {
    void *block;
    while ((block = atomic_exchange(box, NULL)) == NULL) sched_yield();
    return block;
}

__attribute__((noinline)) static void leave(int i) { kept[i] = malloc(40); }

static void *first(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 1000 == 0) leave(i / 1000);
        give(&to_second, malloc(40));
        free(take(&to_first));
    }
    return unused;
}
static void *second(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        void *block = take(&to_second);
        free(block);
        give(&to_third, &to_third); /* a ticket */
    }
    return unused;
}
static void *third(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        take(&to_third);
        give(&to_first, i % 3 == 0 ? realloc(malloc(40), 48) : malloc(40));
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
