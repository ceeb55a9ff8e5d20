// Maps and unmaps, and writes what the kernel says to files: the oracle of MappingTests.
//   mappings random SEED STEPS    four threads split, move, replace and unmap mappings at random, STEPS in all. Between
//                                 rounds all stand still: the program writes /proc/self/maps to maps-N and then calls
//                                 heapsum_dump(). maps-0 is from before the first step.
//   mappings kinds                one mapping of each kind, each by a function of its own; then waits for a byte
//   mappings scatter PAGES         maps single pages, 2 MB apart
//   mappings edges                calls that fail, and their errno, a line each
//   mappings handler              a signal handler maps and unmaps while the main code does; maps-0 and maps-1
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/time.h>
#include <unistd.h>

#include "../../Interposer/include/heapsum.h"

// The kernel's. -DPAGE=16384 for another: a constant, because the tests count with it.
#ifndef PAGE
#define PAGE 4096
#endif

enum { THREADS = 4, ROUNDS = 5, ARENA = 1024, HELD = 256 };

struct held {
    char *start;
    size_t pages;
};

struct worker {
    uint64_t random;
    char *arena; // pages that only this thread maps over
    struct held held[HELD];
    int memory;
    long steps;
};

static struct worker workers[THREADS];
static pthread_barrier_t barrier;
// Mappings that one thread hands to another.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct held handed[64];

static uint64_t draw(struct worker *self, uint64_t below) {
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return self->random % below;
}

static char *map(size_t pages, int flags, int fd, void *at) {
    char *start = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (start == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    return start;
}

static void unmap(char *start, size_t pages) {
    if (munmap(start, pages * PAGE) != 0) abort();
}

static size_t some_pages(struct worker *self) {
    uint64_t kind = draw(self, 100);
    if (kind == 0) return 512 + draw(self, 2048); // whole entries of the upper level
    return 1 + draw(self, kind < 10 ? 300 : 12);
}

// Far below all other mappings: the kernel looks for room from above, and so never puts another one into a hole in
// here.
static void make_arena(struct worker *self) {
    char *at = (char *)0x200000000000 + (self - workers) * ARENA * PAGE;
    self->arena = map(ARENA, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, at);
    if (self->arena != at) abort();
}

static void step_in_arena(struct worker *self) {
    size_t from = draw(self, ARENA), pages = 1 + draw(self, ARENA - from < 40 ? ARENA - from : 40);
    char *at = self->arena + from * PAGE;
    switch (draw(self, 4)) {
        case 0: unmap(at, pages); break;
        case 1: map(pages, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, at); break;
        case 2: map(pages, MAP_SHARED | MAP_FIXED, self->memory, at); break;
        case 3: {
            // A mapping of its own moves over what is there.
            char *other = map(pages, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL);
            if (mremap(other, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at) abort();
            break;
        }
    }
}

static void step_outside(struct worker *self) {
    struct held *held = &self->held[draw(self, HELD)];
    if (held->pages == 0) {
        held->pages = some_pages(self);
        bool shared = draw(self, 4) == 0;
        held->start = map(held->pages, shared ? MAP_SHARED | MAP_ANONYMOUS : MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL);
        return;
    }
    switch (draw(self, 6)) {
        case 0: // all of it
            unmap(held->start, held->pages);
            held->pages = 0;
            break;
        case 1: { // a hole; both rests are one mapping to the caller no more, so keep the first and unmap the second
            size_t from = draw(self, held->pages), pages = 1 + draw(self, held->pages - from);
            unmap(held->start + from * PAGE, pages);
            size_t rest = held->pages - from - pages;
            if (rest > 0) unmap(held->start + (from + pages) * PAGE, rest);
            held->pages = from;
            break;
        }
        case 2: { // grow or shrink
            size_t pages = some_pages(self);
            char *start = mremap(held->start, held->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);
            if (start == MAP_FAILED) break; // kernel's mappings of one call may have become several
            *held = (struct held){start, pages};
            break;
        }
        case 3: { // replaced in part
            size_t from = draw(self, held->pages), pages = 1 + draw(self, held->pages - from);
            map(pages, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, held->start + from * PAGE);
            break;
        }
        case 4: { // swapped with what another thread left
            pthread_mutex_lock(&lock);
            struct held *other = &handed[draw(self, sizeof handed / sizeof handed[0])];
            struct held before = *held;
            *held = *other;
            *other = before;
            pthread_mutex_unlock(&lock);
            break;
        }
        case 5: madvise(held->start, held->pages * PAGE, MADV_DONTNEED); break;
    }
}

static void *work(void *argument) {
    struct worker *self = argument;
    free(malloc(10)); // the recorder's memory for this thread is there from now on
    unmap(map(1, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL), 1);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    make_arena(self);
    for (int round = 0; round < ROUNDS; round++) {
        for (long i = 0; i < self->steps / ROUNDS; i++) {
            if (draw(self, 3) == 0) step_in_arena(self);
            else step_outside(self);
        }
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void write_maps(int number) {
    static char name[32], text[65536];
    snprintf(name, sizeof name, "maps-%d", number);
    int from = open("/proc/self/maps", O_RDONLY), to = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (ssize_t got; (got = read(from, text, sizeof text)) > 0;)
        if (write(to, text, (size_t)got) != got) abort();
    close(from);
    close(to);
}

static int work_at_random(uint64_t seed, long steps) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){
            .random = seed * 7919 + (uint64_t)i + 1, .memory = memfd_create("arena", 0), .steps = steps / THREADS};
        if (workers[i].memory < 0 || ftruncate(workers[i].memory, ARENA * PAGE) != 0) abort();
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    pthread_barrier_wait(&barrier);
    write_maps(0);
    pthread_barrier_wait(&barrier);
    for (int round = 1; round <= ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        write_maps(round);
        heapsum_dump();
        pthread_barrier_wait(&barrier);
    }
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    return 0;
}

// ---- One of each ----

#define MAKES __attribute__((noinline)) static void *
MAKES map_anonymous(void) { return map(10, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL); }
MAKES map_shared_anonymous(void) { return map(11, MAP_SHARED | MAP_ANONYMOUS, -1, NULL); }
MAKES map_stack(void) { return map(12, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, NULL); }
MAKES map_file(int fd) { return map(13, MAP_PRIVATE, fd, NULL); }
MAKES map_shared_file(int fd) { return map(14, MAP_SHARED, fd, NULL); }
MAKES map_memfd(int fd) { return map(15, MAP_SHARED, fd, NULL); }
MAKES map_shared_memory(int fd) { return map(16, MAP_SHARED, fd, NULL); }
MAKES attach_segment(int id) { return shmat(id, NULL, 0); }
MAKES move_break(void) { return sbrk(18 * PAGE); }
MAKES map_device(int fd) { return map(19, MAP_PRIVATE, fd, NULL); }
MAKES reserve(void) { return mmap(NULL, 20 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }
MAKES grow_by_moving(void *from) { return mremap(from, 21 * PAGE, 42 * PAGE, MREMAP_MAYMOVE); }
MAKES map_with_a_hole(void) { return map(23, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL); }
MAKES map_gone(void) { return map(24, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL); }
MAKES attach_gone(int id) { return shmat(id, NULL, 0); }

static int file_of(const char *name, size_t pages) {
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)(pages * PAGE)) != 0) abort();
    return fd;
}

static int map_each_kind(void) {
    char name[64], byte;
    void *volatile block = malloc(100000); // an allocator other than libc's maps for it
    free(block);
    int file = file_of("mapped-file", 64), memory = memfd_create("mine", 0);
    snprintf(name, sizeof name, "/dev/shm/heapsum-test-%d", getpid());
    int shared = file_of(name, 64);
    unlink(name);
    int device = open("/dev/zero", O_RDWR), segment = shmget(IPC_PRIVATE, 17 * PAGE - 100, IPC_CREAT | 0600);
    if (memory < 0 || ftruncate(memory, 64 * PAGE) != 0 || device < 0 || segment < 0) abort();
    char *touched = map_anonymous();
    for (int i = 0; i < 4; i++) touched[i * PAGE] = 1;
    map_shared_anonymous();
    map_stack();
    map_file(file);
    map_shared_file(file);
    map_memfd(memory);
    map_shared_memory(shared);
    attach_segment(segment);
    if (shmdt(attach_gone(segment)) != 0) abort();
    shmctl(segment, IPC_RMID, NULL);
    move_break();
    map_device(device);
    reserve();
    if (grow_by_moving(map(21, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL)) == MAP_FAILED) abort();
    char *holed = map_with_a_hole();
    unmap(holed + 5 * PAGE, 3);
    unmap(map_gone(), 24);
    heapsum_dump();
    puts("ready");
    fflush(stdout);
    return read(0, &byte, 1) < 0;
}

// ---- Far apart ----

static int scatter(long pages) {
    for (long i = 0; i < pages; i++) {
        char *at = (char *)0x300000000000 + (i << 21);
        if (map(1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, at) != at) abort();
    }
    return 0;
}

// ---- What fails ----

static void say(const char *what, intptr_t result) { printf("%s: %ld %s\n", what, (long)result, strerror(errno)); }
#define TRY(call) (errno = 0, say(#call, (intptr_t)(call)))

static int fail(void) {
    char *two = map(2, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL);
    TRY(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0));
    TRY(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 100));
    TRY(mmap(NULL, SIZE_MAX / 2, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY(munmap(two + 1, PAGE));
    TRY(munmap(two, 0));
    TRY(mremap(two, PAGE, PAGE * 2, 0));
    TRY(mremap((void *)0x1000, PAGE, PAGE, MREMAP_MAYMOVE));
    TRY(mremap(two, PAGE, PAGE, 1 << 20));
    TRY(madvise(two, PAGE, 9999));
    TRY(madvise(two, PAGE, MADV_DONTNEED));
    TRY(shmat(-1, NULL, 0));
    TRY(shmdt(two));
    TRY(brk((void *)1));
    TRY(sbrk(INTPTR_MAX));
    TRY(munmap(two, 2 * PAGE));
    return 0;
}

// ---- In a handler ----

static volatile sig_atomic_t handled;
static void handle(int signal) {
    (void)signal;
    int saved = errno;
    unmap(map(3, MAP_PRIVATE | MAP_ANONYMOUS, -1, NULL), 3);
    handled++;
    errno = saved;
}

static int be_interrupted(void) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct worker *self = &workers[0];
    *self = (struct worker){.random = 4711, .memory = memfd_create("arena", 0)};
    if (ftruncate(self->memory, ARENA * PAGE) != 0) abort();
    free(malloc(10)); // malloc's heap is there from now on
    write_maps(0);
    struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    make_arena(self);
    setitimer(ITIMER_REAL, &often, NULL);
    for (long i = 0; i < 1000 || handled < 500; i++) {
        if (draw(self, 3) == 0) step_in_arena(self);
        else step_outside(self);
        void *volatile block = malloc(100);
        free(block);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    write_maps(1);
    heapsum_dump();
    return 0;
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    if (strcmp(what, "random") == 0 && count > 3)
        return work_at_random(strtoull(arguments[2], NULL, 10), strtol(arguments[3], NULL, 10));
    if (strcmp(what, "kinds") == 0) return map_each_kind();
    if (strcmp(what, "scatter") == 0 && count > 2) return scatter(strtol(arguments[2], NULL, 10));
    if (strcmp(what, "edges") == 0) return fail();
    if (strcmp(what, "handler") == 0) return be_interrupted();
    return 64;
}
