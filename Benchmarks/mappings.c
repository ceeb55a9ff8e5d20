// What a mapping costs: mappings KIND ROUNDS; prints nanoseconds for each call of a pair, by the processor's time of
// this thread.
//   pair     mmap of 16 pages, munmap
//   touched  the same, each page written
//   hole     mmap over the middle of a mapping of 512 pages (MAP_FIXED)
//   move     mremap, which grows and shrinks a mapping
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };

static char *map(size_t pages, int flags, void *at) {
    char *start = mmap(at, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (start == MAP_FAILED) abort();
    return start;
}

static double nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int count, char **arguments) {
    if (count < 3) return 64;
    const char *kind = arguments[1];
    long rounds = atol(arguments[2]);
    char *large = map(512, 0, NULL), *moved = map(4, 0, NULL);
    double began = nanoseconds();
    for (long i = 0; i < rounds; i++) {
        if (strcmp(kind, "hole") == 0) {
            map(16, MAP_FIXED, large + 100 * PAGE);
            map(16, MAP_FIXED, large + 300 * PAGE);
        } else if (strcmp(kind, "move") == 0) {
            moved = mremap(moved, 4 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
            if (moved == MAP_FAILED) abort();
            moved = mremap(moved, 64 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
        } else {
            char *start = map(16, 0, NULL);
            if (strcmp(kind, "touched") == 0)
                for (int page = 0; page < 16; page++) start[page * PAGE] = 1;
            if (munmap(start, 16 * PAGE) != 0) abort();
        }
    }
    printf("%.0f\n", (nanoseconds() - began) / (double)rounds / 2);
    return 0;
}
