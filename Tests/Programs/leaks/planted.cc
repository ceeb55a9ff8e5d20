// Many held blocks, and lost ones planted among them: BLOCKS held, PLANTED lost alone and PLANTED lost behind another
// lost one. The held are in a hash table with chains, as programs have them, and a part of them is replaced, so that
// the heap is no row of equal blocks.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <unistd.h>

#include "registers.h"

#define NOINLINE __attribute__((noinline))

struct entry {
    entry *next;
    uint64_t key;
    char *value;
};
entry **table;
static size_t buckets;
static uint64_t state = 88172645463325252ull;

static uint64_t random_word() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static NOINLINE void put(uint64_t key) {
    auto *made = static_cast<entry *>(malloc(sizeof(entry)));
    size_t bytes = 16 + random_word() % 200;
    made->key = key;
    made->value = static_cast<char *>(malloc(bytes));
    memset(made->value, 'x', bytes);
    made->next = table[key % buckets];
    table[key % buckets] = made;
}

static NOINLINE void take(uint64_t key) {
    for (entry **place = &table[key % buckets]; *place; place = &(*place)->next)
        if ((*place)->key == key) {
            entry *found = *place;
            *place = found->next;
            free(found->value);
            free(found);
            return;
        }
}

static NOINLINE void lose_alone() {
    void *volatile block = calloc(1, 136); // whatever an allocator keeps in what is free would still be in it
    (void)block;
}
static NOINLINE void lose_pair() {
    void **holder = static_cast<void **>(calloc(1, 152));
    holder[5] = calloc(1, 168);
    __asm__ volatile("" : : "r"(holder) : "memory");
}
static NOINLINE void wipe() {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

int main(int argc, char **argv) {
    size_t blocks = argc > 1 ? strtoull(argv[1], 0, 10) : 100000, planted = argc > 2 ? strtoull(argv[2], 0, 10) : 1000;
    buckets = blocks / 4 + 1;
    table = static_cast<entry **>(calloc(buckets, sizeof *table));
    size_t entries = blocks / 2;
    for (size_t i = 0; i < entries; i++) {
        put(i);
        if (i % 3 == 0) take(i / 2), put(i / 2);
        if (i % (entries / planted) == 0 && i / (entries / planted) < planted) lose_alone(), lose_pair();
    }
    wipe();
    FORGET_REGISTERS;
    puts("ready");
    fflush(stdout);
    if (argc > 3) { // writes on, so that a snapshot costs it what it costs
        uint64_t longest = 0;
        for (;;) {
            timespec before, after;
            clock_gettime(CLOCK_MONOTONIC, &before);
            for (int i = 0; i < 100; i++) take(i), put(i);
            clock_gettime(CLOCK_MONOTONIC, &after);
            uint64_t took = (after.tv_sec - before.tv_sec) * 1000000000ull + after.tv_nsec - before.tv_nsec;
            if (took > longest) printf("%lu us\n", (unsigned long)((longest = took) / 1000)), fflush(stdout);
        }
    }
    for (;;) pause();
}
