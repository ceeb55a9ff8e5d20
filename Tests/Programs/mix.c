/*
 * A mix of allocations whose sums are known. What stays: small blocks of one size, blocks of many sizes, large ones,
 * arrays that grew by realloc, and aligned and zeroed ones. What goes: blocks that are freed at once, and ones that
 * outlive others. Prints, for each function that asked, the bytes and blocks that are live at the end, and those that
 * it ever allocated. `mix THREADS` does it in so many threads at once. A reallocation counts as a free and an
 * allocation.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sums {
    _Atomic uint64_t bytes, blocks, allocated_bytes, allocated_blocks;
};

static void count(struct sums *sums, size_t bytes, int stays) {
    sums->allocated_bytes += bytes;
    sums->allocated_blocks++;
    if (stays) sums->bytes += bytes;
    if (stays) sums->blocks++;
}

#define KIND(name) \
    static struct sums sums_##name; \
    static __attribute__((noinline)) void name(struct sums *sums)

static void *volatile keep;

KIND(small) {
    for (int i = 0; i < 60000; i++) {
        keep = malloc(24);
        count(sums, 24, 1);
    }
}

KIND(various) {
    uint32_t random = 1;
    for (int i = 0; i < 12000; i++) {
        random = random * 1664525 + 1013904223;
        size_t bytes = random >> 16 & 511;
        keep = malloc(bytes);
        count(sums, bytes, 1);
    }
}

KIND(large) {
    for (int i = 0; i < 200; i++) {
        size_t bytes = 2000 + 150 * (size_t)i;
        keep = malloc(bytes);
        count(sums, bytes, 1);
    }
}

KIND(grown) {
    for (int i = 0; i < 1500; i++) {
        void *volatile array = NULL;
        for (size_t bytes = 64; bytes <= 2048; bytes *= 2) {
            array = realloc(array, bytes);
            count(sums, bytes, bytes == 2048);
        }
    }
}

KIND(aligned) {
    for (int i = 0; i < 3000; i++) {
        void *block;
        if (i % 3 == 0) block = calloc(10, 30);
        else if (i % 3 == 1) block = aligned_alloc(64, 320);
        else if (posix_memalign(&block, 32, 300) != 0) abort();
        keep = block;
        count(sums, i % 3 == 1 ? 320 : 300, 1);
    }
}

KIND(passing) {
    for (int i = 0; i < 100000; i++) {
        void *volatile block = malloc(100);
        free(block);
        count(sums, 100, 0);
    }
}

KIND(lasting) {
    void *volatile blocks[64];
    memset((void *)blocks, 0, sizeof blocks);
    for (int i = 0; i < 50000; i++) {
        free(blocks[i % 64]);
        blocks[i % 64] = malloc(40 + i % 200);
        count(sums, 40 + (size_t)i % 200, 0);
    }
    for (int i = 0; i < 64; i++) free(blocks[i]);
}

static void *work(void *unused) {
    small(&sums_small);
    various(&sums_various);
    large(&sums_large);
    grown(&sums_grown);
    aligned(&sums_aligned);
    passing(&sums_passing);
    lasting(&sums_lasting);
    return unused;
}

static void say(const char *name, const struct sums *sums) {
    printf("%s %llu %llu %llu %llu\n", name, (unsigned long long)sums->bytes, (unsigned long long)sums->blocks,
        (unsigned long long)sums->allocated_bytes, (unsigned long long)sums->allocated_blocks);
}

int main(int argc, char **arguments) {
    pthread_t threads[16];
    int others = argc > 1 ? atoi(arguments[1]) : 0;
    if (others > 16) return 2;
    for (int i = 0; i < others; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0) return 1;
    for (int i = 0; i < others; i++) pthread_join(threads[i], NULL);
    if (others == 0) work(NULL);
    say("small", &sums_small);
    say("various", &sums_various);
    say("large", &sums_large);
    say("grown", &sums_grown);
    say("aligned", &sums_aligned);
    say("passing", &sums_passing);
    say("lasting", &sums_lasting);
    return 0;
}
