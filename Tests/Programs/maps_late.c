/*
 * Maps memory when it is told to, one command a line, and answers each:
 *
 *   map      maps two pages, a memfd of three, moves one of five pages and makes it seven; keeps all
 *   unmap    unmaps what was kept, half of the first mapping at a time
 *   start    lets four threads map, check, move and unmap at random until `stop`; each has done so 1,000 times when
 *            this is answered
 *   stop     they stand still; what they keep stays mapped
 *   quit     ends; the status is 1 if a mapping did not have what was written to it
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define NOINLINE __attribute__((noinline))

struct kept {
    char *at;
    size_t bytes;
};
static struct kept kept[4096];
static size_t kept_count;
static atomic_bool runs, ends, is_wrong;
static atomic_int resting, going;

static void keep(void *at, size_t bytes) {
    if (at == MAP_FAILED) abort();
    kept[kept_count++] = (struct kept){at, bytes};
}

NOINLINE void *map_pages(size_t pages) {
    return mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

NOINLINE void map_all(void) {
    keep(map_pages(2), 2 * PAGE);
    int fd = memfd_create("kept", 0);
    if (fd < 0 || ftruncate(fd, 3 * PAGE) != 0) abort();
    keep(mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, fd, 0), 3 * PAGE);
    close(fd);
    keep(mremap(map_pages(5), 5 * PAGE, 7 * PAGE, MREMAP_MAYMOVE), 7 * PAGE);
}

static void unmap_all(void) {
    for (; kept_count > 0; kept_count--) {
        struct kept *one = &kept[kept_count - 1];
        munmap(one->at, PAGE);
        if (one->bytes > PAGE) munmap(one->at + PAGE, one->bytes - PAGE);
    }
}

static void *work(void *seed) {
    enum { MOST = 64 };
    struct kept own[MOST] = {{NULL, 0}};
    uint64_t random = (uintptr_t)seed * 0x9E3779B97F4A7C15u + 1;
    int steps = 0;
    while (!ends) {
        if (!runs) {
            steps = 0;
            resting++;
            while (!runs && !ends) usleep(1000);
            resting--;
            continue;
        }
        random = random * 6364136223846793005u + 1442695040888963407u;
        struct kept *one = &own[random >> 33 & (MOST - 1)];
        if (++steps == 1000) going++;
        size_t bytes = (1 + (random >> 40 & 15)) * PAGE;
        if (one->at != NULL && *(uint64_t *)(void *)one->at != ((uint64_t)(uintptr_t)one ^ one->bytes)) is_wrong = true;
        if (one->at == NULL) {
            one->at = map_pages(bytes / PAGE);
        } else if (random >> 60 & 1) {
            one->at = mremap(one->at, one->bytes, bytes, MREMAP_MAYMOVE);
        } else {
            munmap(one->at, one->bytes);
            *one = (struct kept){NULL, 0};
            continue;
        }
        if (one->at == MAP_FAILED) abort();
        one->bytes = bytes;
        *(uint64_t *)(void *)one->at = (uint64_t)(uintptr_t)one ^ bytes;
    }
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    char line[64];
    for (uintptr_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "map") == 0) map_all();
        else if (strcmp(line, "unmap") == 0) unmap_all();
        else if (strcmp(line, "start") == 0) {
            going = 0;
            for (runs = true; going < 4;) usleep(1000);
        } else if (strcmp(line, "stop") == 0)
            for (runs = false; resting < 4;) usleep(1000);
        else if (strcmp(line, "quit") == 0) break;
        printf("%s done\n", line);
    }
    ends = true;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return is_wrong;
}
