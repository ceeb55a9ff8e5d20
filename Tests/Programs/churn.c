/*
 * Threads that do nothing but allocate, reallocate and free, and check that each block holds what they wrote. Commands,
 * a line each, come on standard input, and each is answered with a line:
 *
 *   epoch N   blocks are of N * 1024 bytes and up to 1,023 more from here on, in all threads
 *   pause     all threads stand still, outside of the allocator
 *   resume    they go on
 *   count N   blocks of that epoch that are held now, and their bytes (while paused)
 *   total     allocations since the start (while paused)
 *   quit      each thread frees what it has; the answer is the number of blocks that were damaged
 *
 * `churn THREADS`.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HELD 128
#define THREADS_MOST 64

struct held {
    unsigned char *block;
    size_t bytes;
    unsigned epoch;
};
static struct worker {
    pthread_t thread;
    struct held held[HELD];
    _Atomic unsigned seen; /* the last order that it followed */
    uint64_t allocations;
} workers[THREADS_MOST];
static _Atomic unsigned epoch = 1, order, is_paused, is_over;
static _Atomic unsigned damaged;

static void fill(struct held *held, unsigned worker) {
    held->block[0] = (unsigned char)worker;
    held->block[held->bytes - 1] = (unsigned char)(held->bytes);
}
static void check(const struct held *held, unsigned worker, size_t bytes) {
    if (held->block[0] != (unsigned char)worker) damaged++;
    if (bytes == held->bytes && held->block[held->bytes - 1] != (unsigned char)held->bytes) damaged++;
}

static void *work(void *which) {
    unsigned worker = (unsigned)(uintptr_t)which;
    struct worker *self = &workers[worker];
    uint64_t random = 88172645463325252ull + worker * 7919;
    for (;;) {
        /* Read once: an order that comes after this is followed in the next round, and not waited out as if seen. */
        unsigned last = order;
        self->seen = last;
        if (is_over) break;
        if (is_paused) {
            while (order == last) usleep(1000);
            continue;
        }
        for (int i = 0; i < 64; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            struct held *held = &self->held[random % HELD];
            unsigned now = epoch;
            size_t bytes = now * 1024 + (random >> 20) % 1024;
            if (held->block != NULL) check(held, worker, held->bytes);
            if (held->block != NULL && (random >> 40) % 4 == 0) {
                size_t smaller = bytes < held->bytes ? bytes : held->bytes;
                held->block = realloc(held->block, bytes);
                check(held, worker, smaller == held->bytes ? smaller : 0);
            } else {
                free(held->block);
                held->block = (random >> 42) % 2 ? malloc(bytes) : calloc(1, bytes);
            }
            if (held->block == NULL) abort();
            self->allocations++;
            held->bytes = bytes;
            held->epoch = now;
            fill(held, worker);
        }
    }
    return NULL;
}

/* Until each thread has seen the last order. */
static void wait_for_all(unsigned count) {
    for (unsigned i = 0; i < count; i++)
        while (workers[i].seen != order) usleep(100);
}

int main(int argument_count, char **arguments) {
    unsigned count = argument_count > 1 ? (unsigned)atoi(arguments[1]) : 4;
    if (count == 0 || count > THREADS_MOST) return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, (void *)(uintptr_t)i) != 0) return 2;
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned number = (unsigned)strtoul(line + strcspn(line, " \n"), NULL, 10);
        if (strncmp(line, "epoch", 5) == 0) {
            epoch = number;
            order++;
            wait_for_all(count);
            printf("epoch %u\n", number);
        } else if (strncmp(line, "pause", 5) == 0 || strncmp(line, "resume", 6) == 0) {
            is_paused = line[0] == 'p';
            order++;
            wait_for_all(count);
            printf("%s\n", is_paused ? "paused" : "resumed");
        } else if (strncmp(line, "count", 5) == 0) {
            unsigned long long blocks = 0, bytes = 0;
            for (unsigned i = 0; i < count; i++)
                for (unsigned k = 0; k < HELD; k++)
                    if (workers[i].held[k].block != NULL && workers[i].held[k].epoch == number)
                        blocks++, bytes += workers[i].held[k].bytes;
            printf("held %llu %llu\n", blocks, bytes);
        } else if (strncmp(line, "total", 5) == 0) {
            unsigned long long total = 0;
            for (unsigned i = 0; i < count; i++) total += workers[i].allocations;
            printf("total %llu\n", total);
        } else if (strncmp(line, "quit", 4) == 0) {
            is_over = 1;
            order++;
            for (unsigned i = 0; i < count; i++) {
                pthread_join(workers[i].thread, NULL);
                for (unsigned k = 0; k < HELD; k++)
                    if (workers[i].held[k].block != NULL) {
                        check(&workers[i].held[k], i, workers[i].held[k].bytes);
                        free(workers[i].held[k].block);
                    }
            }
            printf("damaged %u\n", damaged);
            return damaged != 0;
        }
    }
    return 3;
}
