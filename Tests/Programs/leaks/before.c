/*
 * A program that was working long before anybody looks. `before SHAPE` allocates and frees in that shape, writes
 * "ready", and waits. Told "list", it prints its live blocks with the bytes that malloc says they have; told "after",
 * it loses and holds more; told "spoil SEED", it writes over its own malloc's memory, and calls malloc no more; told
 * "churn", it allocates and frees without end. It keeps its books outside malloc, and so that no pointer to a lost
 * block can be seen.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MOST = 400000, KEPT = 1000 };
static const uintptr_t mask = 0xA5A5A5A5A5A5A5A5;

struct entry {
    uintptr_t hidden; /* an address in other words */
    size_t bytes;
    int is_freed;
};
static struct entry *entries;
static size_t count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
void **held_before[KEPT], **held_after[KEPT];
static uintptr_t lost_before[KEPT];
static uint64_t seed = 88172645463325252;

static uint64_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static __attribute__((noinline)) void wipe(void) {
    char space[16384];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

/* Books a block. */
static size_t note(void *block) {
    pthread_mutex_lock(&lock);
    size_t number = count++;
    if (number >= MOST) abort();
    entries[number] = (struct entry){(uintptr_t)block ^ mask, malloc_usable_size(block), 0};
    pthread_mutex_unlock(&lock);
    return number;
}

static size_t take(size_t bytes) {
    char *block = malloc(bytes);
    if (!block) abort();
    if (bytes > 0) block[0] = block[bytes - 1] = 1;
    return note(block);
}

static void give(size_t number) {
    entries[number].is_freed = 1;
    free((void *)(entries[number].hidden ^ mask));
}

static void resize(size_t number, size_t bytes) {
    pthread_mutex_lock(&lock);
    void *block = realloc((void *)(entries[number].hidden ^ mask), bytes);
    entries[number].hidden = (uintptr_t)block ^ mask;
    entries[number].bytes = malloc_usable_size(block);
    pthread_mutex_unlock(&lock);
}

static void shape_sizes(void) {
    static const size_t sizes[] = {0, 1, 16, 24, 25, 40, 100, 1000, 1032, 1033, 5000, 40000, 131000, 131072, 140000,
        262144, 1000000, 4194304, 33554432, 67108864};
    for (size_t at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        for (int time = 0; time < 5; time++) take(sizes[at]);
        if (sizes[at] < 1 << 22) give(take(sizes[at]));
    }
    for (size_t alignment = 16; alignment <= 1 << 20; alignment *= 2) {
        note(memalign(alignment, 100));
        note(memalign(alignment, 40000));
        note(memalign(alignment, 300000));
        note(memalign(alignment, 8 << 20));
    }
    for (size_t bytes = 16; bytes < 1 << 24; bytes *= 3) {
        size_t number = take(bytes);
        resize(number, bytes * 3);
        if (bytes % 2) resize(number, bytes / 2 + 1);
    }
}

/* Into the caches of threads, fast bins, the unsorted bin and the others, with holes between. */
static void shape_caches(void) {
    static size_t numbers[100000];
    for (int round = 0; round < 4; round++) {
        size_t made = 0;
        for (size_t bytes = 16; bytes < 1400; bytes += 24)
            for (int time = 0; time < 60; time++) numbers[made++] = take(bytes);
        for (int time = 0; time < 300; time++) numbers[made++] = take(1500 + draw() % 60000);
        for (size_t at = 0; at < made; at++)
            if (draw() % 3 != 0) give(numbers[at]);
        for (int time = 0; time < 50; time++) take(draw() % 2000);
    }
}

static void shape_trim(void) {
    shape_caches();
    malloc_trim(0);
    for (int time = 0; time < 200; time++) take(draw() % 300);
}

static pthread_barrier_t all_made, all_over;

static void *work(void *argument) {
    uint64_t own = (uintptr_t)argument * 7919 + 17;
    static __thread size_t numbers[3000];
    for (int at = 0; at < 3000; at++) {
        own = own * 6364136223846793005 + 1442695040888963407;
        size_t bytes = own >> 33;
        numbers[at] = take(at % 500 == 0 ? 200000 + bytes % 100000 : bytes % 3000);
    }
    for (int at = 0; at < 3000; at++)
        if ((at * 7 + (uintptr_t)argument) % 5 < 2) give(numbers[at]);
    pthread_barrier_wait(&all_made);
    /* Every other thread ends, and its cache with it. */
    if ((uintptr_t)argument % 2) return 0;
    pthread_barrier_wait(&all_over);
    return 0;
}

static void shape_threads(void) {
    pthread_t threads[16];
    mallopt(M_ARENA_MAX, 12);
    pthread_barrier_init(&all_made, 0, 17);
    pthread_barrier_init(&all_over, 0, 9);
    for (uintptr_t at = 0; at < 16; at++)
        if (pthread_create(&threads[at], 0, work, (void *)at)) abort();
    pthread_barrier_wait(&all_made);
    for (int at = 1; at < 16; at += 2) pthread_join(threads[at], 0);
}

/* Another thread's arena, of several heaps. */
static void *fill(void *unused) {
    (void)unused;
    static size_t numbers[40000];
    for (int at = 0; at < 40000; at++) numbers[at] = take(3000 + draw() % 4000);
    for (int at = 0; at < 40000; at++)
        if (draw() % 4 == 0) give(numbers[at]);
    pthread_barrier_wait(&all_made);
    pthread_barrier_wait(&all_over);
    return 0;
}

static void shape_heaps(void) {
    pthread_t thread;
    pthread_barrier_init(&all_made, 0, 2);
    pthread_barrier_init(&all_over, 0, 2);
    if (pthread_create(&thread, 0, fill, 0)) abort();
    pthread_barrier_wait(&all_made);
}

/* Something lies behind the break: the main arena goes on elsewhere. */
static void shape_blocked(void) {
    shape_caches();
    char *end = sbrk(0);
    if (mmap(end + 8192, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
        abort();
    for (int time = 0; time < 2000; time++) take(draw() % 4000);
    shape_caches();
}

static void shape_lost(void);

/* The program moves the break itself. */
static void shape_foreign(void) {
    shape_lost();
    shape_caches();
    if (sbrk(5000) == (void *)-1) abort();
    for (int time = 0; time < 20000; time++) take(draw() % 4000);
}

/* 1,000 lost and 1,000 held blocks, each with room for a pointer to another. */
static __attribute__((noinline)) void shape_lost(void) {
    for (int at = 0; at < KEPT; at++) {
        lost_before[at] = (uintptr_t)calloc(1, 120) ^ mask;
        held_before[at] = calloc(1, 88);
        entries[count++] = (struct entry){lost_before[at], 120, 0};
        entries[count++] = (struct entry){(uintptr_t)held_before[at] ^ mask, 88, 0};
    }
}

static __attribute__((noinline)) void allocate_after(void) {
    for (int at = 0; at < KEPT; at++) {
        void **volatile lost = calloc(1, 150);
        *lost = 0;
        lost = 0;
        if (lost_before[at]) *(void **)(lost_before[at] ^ mask) = calloc(1, 200);
        if (held_before[at]) *held_before[at] = calloc(1, 300);
        held_after[at] = calloc(1, 400);
        lost_before[at] = 0;
    }
}

/* A thread that holds its arena's lock for good, as one that was stopped in malloc would. The first word of the heap
 * leads to the arena, whose first word is the lock. */
static void *hold_lock(void *unused) {
    (void)unused;
    void *block = malloc(1000);
    ((void **)block)[0] = 0;
    note(block);
    for (int time = 0; time < 500; time++) take(64);
    int *arena = *(int **)((uintptr_t)block & ~(((uintptr_t)64 << 20) - 1));
    *arena = 1;
    pthread_barrier_wait(&all_made);
    pthread_barrier_wait(&all_over);
    return 0;
}

static void shape_locked(void) {
    pthread_t thread;
    shape_lost();
    pthread_barrier_init(&all_made, 0, 2);
    pthread_barrier_init(&all_over, 0, 2);
    if (pthread_create(&thread, 0, hold_lock, 0)) abort();
    pthread_barrier_wait(&all_made);
}

/* Writes over words of the heaps, with what is there elsewhere, or
 * nearly, or anything: as a program does before it crashes. */
static void spoil(uint64_t from) {
    static char text[1 << 16], *lines[4096];
    /* The arenas that the heaps lead to, found before any word is written over: their first words may be, too. Another
     * mapping that begins where a heap could leads to none: a block of its own begins with 0. */
    static uintptr_t arenas[256];
    static int arena_count = -1;
    uintptr_t low[256], high[256];
    int ranges = 0, file = open("/proc/self/maps", O_RDONLY);
    ssize_t got, all = 0;
    while ((got = read(file, text + all, sizeof text - 1 - all)) > 0) all += got;
    close(file);
    int made = 0;
    for (char *at = text; *at && made < 4096; at = strchr(at, '\n') + 1) lines[made++] = at;
    for (int at = 0; at < made && ranges < 256; at++) {
        uintptr_t start = strtoul(lines[at], &lines[at], 16), end = strtoul(lines[at] + 1, &lines[at], 16);
        char *rest = lines[at];
        size_t length = strchr(rest, '\n') - rest;
        int is_writable = strncmp(rest, " rw-p", 5) == 0;
        int is_heap = memmem(rest, length, "[heap]", 6) != 0;
        int is_arena = start % ((uintptr_t)64 << 20) == 0 && !memchr(rest, '/', length);
        if (is_writable && (is_heap || is_arena)) {
            low[ranges] = start;
            high[ranges++] = end;
        }
    }
    if (arena_count < 0) {
        arena_count = 0;
        for (int heap = 0; heap < ranges; heap++) {
            if (low[heap] % ((uintptr_t)64 << 20) != 0) continue;
            uintptr_t arena = *(uintptr_t *)low[heap];
            for (int range = 0; range < ranges; range++)
                if (low[range] < arena && arena < high[range] && high[range] - arena > 2168)
                    arenas[arena_count++] = arena;
        }
    }
    seed = from * 2654435761 + 88172645463325252;
    for (int time = 0; time < 20; time++) draw();
    if (from == 0) {
        /* The next arena in the ring is beyond all addresses. */
        for (int arena = 0; arena < arena_count; arena++) *(uintptr_t *)(arenas[arena] + 2160) = -(uintptr_t)16;
        return;
    }
    int writes = 1 + draw() % 4;
    for (int time = 0; time < writes; time++) {
        int range = draw() % ranges;
        uint64_t *word;
        if (from % 5 != 0) {
            /* The sizes and links of chunks. */
            uintptr_t block = entries[draw() % count].hidden ^ mask;
            for (range = 0; range < ranges && !(low[range] < block && block < high[range]);) range++;
            if (range == ranges) continue;
            word = (uint64_t *)(block - 16) + draw() % 4;
        } else {
            /* Near the start, where arenas and caches of threads are, or anywhere. */
            uintptr_t offset = draw() % 2 ? draw() % 4096 : draw() % (high[range] - low[range]);
            word = (uint64_t *)(low[range] + (offset & ~7ul));
        }
        uintptr_t room = high[range] - low[range];
        uint64_t *other = (uint64_t *)(low[range] + (draw() % room & ~7ul));
        switch (draw() % 6) {
            case 0: *word = draw(); break;
            case 1: *word = *other; break;
            case 2: *word += 16 * (draw() % 5) - 32; break;
            case 3: *word = (uintptr_t)other; break;
            case 4: *word = 0; break;
            default: *word ^= (uint64_t)1 << draw() % 64; break;
        }
    }
}

static void *tables[5][2000];

/* Allocates and frees without end. All is in a table, but for what it has in hand. */
static __attribute__((noreturn)) void *churn(void *table_of_blocks) {
    void **table = table_of_blocks;
    uint64_t own = (uintptr_t)table * 7919 + 17;
    for (;;) {
        own = own * 6364136223846793005 + 1442695040888963407;
        void **place = &table[(own >> 33) % 2000], *old = *place;
        if (old) {
            *place = 0;
            free(old);
        } else {
            *place = calloc(1, (own >> 20) % 50 == 0 ? 20000 + (own >> 40) % 300000 : (own >> 40) % 3000);
        }
    }
}

static void shape_busy(void) {
    pthread_t thread;
    for (int at = 1; at < 5; at++)
        if (pthread_create(&thread, 0, churn, tables[at])) abort();
    usleep(100000);
}

static void shape_none(void) {}

/* A block's header is written over, as a program does that writes behind the block before it. */
static void shape_damaged(void) {
    shape_lost();
    shape_caches();
    take(5000);
    size_t number = take(5000);
    take(5000);
    ((size_t *)(entries[number].hidden ^ mask))[-1] = 0x4141414141414141;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*make)(void);
    } shapes[] = {{"sizes", shape_sizes}, {"caches", shape_caches}, {"trim", shape_trim}, {"threads", shape_threads},
        {"heaps", shape_heaps}, {"blocked", shape_blocked}, {"foreign", shape_foreign}, {"lost", shape_lost},
        {"locked", shape_locked}, {"damaged", shape_damaged}, {"busy", shape_busy}, {"none", shape_none}};
    entries = mmap(0, MOST * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    static char out[1 << 16];
    setvbuf(stdout, out, _IOFBF, sizeof out);
    for (size_t at = 0; at < sizeof shapes / sizeof *shapes; at++)
        if (argc > 1 && strcmp(argv[1], shapes[at].name) == 0) shapes[at].make();
    wipe();
    puts("ready");
    fflush(stdout);
    char line[64];
    for (;;) {
        ssize_t got = read(0, line, sizeof line - 1);
        if (got <= 0) _exit(0);
        line[got] = 0;
        if (strcmp(line, "churn\n") == 0) {
            puts("done");
            fflush(stdout);
            churn(tables[0]);
        } else if (strcmp(line, "after\n") == 0) {
            allocate_after();
        } else if (strcmp(line, "list\n") == 0) {
            for (size_t at = 0; at < count; at++)
                if (!entries[at].is_freed) printf("%zx %zu\n", (size_t)(entries[at].hidden ^ mask), entries[at].bytes);
        } else if (strncmp(line, "spoil ", 6) == 0) {
            spoil(strtoul(line + 6, 0, 10));
        } else {
            _exit(0);
        }
        wipe();
        puts("done");
        fflush(stdout);
    }
}
