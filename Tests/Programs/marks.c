/*
 * A program that speaks to the recorder, by heapsum.h: blocks before, between and behind marks, and while it is paused.
 *
 *   marks            three blocks of 1,000 bytes before "first", five of 2,000 before "second", seven of 3,000 behind
 * it marks pause      two blocks of 1,000 bytes, four of 2,000 while paused twice, one of 3,000; then all but one of
 * each are freed marks dump       a dump between two blocks of 5,000 bytes marks many N     N marks, called mark 1 to
 * mark N marks growth     blocks of 100,000 bytes up to 10 MB, freed down to 5 MB, and up to 12 MB again marks failure
 * asks for more than there can be, ten times, by each function that can be asked marks alignment  asks for alignments
 * that can't be
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heapsum.h"

static void *kept[1000];
static int count;

__attribute__((noinline)) static void keep(int blocks, size_t bytes) {
    while (blocks-- > 0) kept[count++] = malloc(bytes);
}

static void pass_a_tick(void) { nanosleep(&(struct timespec){0, 20000000}, NULL); }

int main(int arguments, char **words) {
    const char *what = arguments > 1 ? words[1] : "";
    if (strcmp(what, "pause") == 0) {
        keep(2, 1000);
        heapsum_pause();
        heapsum_pause();
        keep(2, 2000);
        heapsum_resume();
        keep(2, 2000);
        heapsum_resume();
        heapsum_resume(); /* one too many */
        keep(1, 3000);
        free(kept[0]); /* booked */
        free(kept[2]); /* not booked */
        kept[1] = realloc(kept[1], 1500);
    } else if (strcmp(what, "dump") == 0) {
        keep(1, 5000);
        heapsum_dump();
        keep(1, 5000);
    } else if (strcmp(what, "many") == 0) {
        char name[32];
        for (int i = 1; i <= atoi(words[2]); i++) {
            snprintf(name, sizeof name, "mark %d", i);
            heapsum_mark(name);
        }
    } else if (strcmp(what, "growth") == 0) {
        keep(100, 100000);
        while (count > 50) free(kept[--count]);
        keep(70, 100000);
    } else if (strcmp(what, "failure") == 0) {
        int failures = 0;
        volatile size_t much = (size_t)1 << 60;
        void *kept_block = malloc(10), *block;
        for (int i = 0; i < 10; i++) {
            if (malloc(much) == NULL) failures++;
            if (calloc(much, much) == NULL) failures++;
            if (realloc(kept_block, much) == NULL) failures++;
            if (reallocarray(kept_block, much, much) == NULL && errno == ENOMEM) failures++;
            if (posix_memalign(&block, 64, much) == ENOMEM) failures++;
        }
        free(kept_block);
        printf("%d failures\n", failures);
    } else if (strcmp(what, "alignment") == 0) {
        int failures = 0;
        void *block;
        volatile size_t odd = 3;
        if (posix_memalign(&block, odd, 100) == EINVAL) failures++;
        errno = ENOMEM; /* of an earlier failure, which says nothing of this one */
        if (posix_memalign(&block, odd, 100) == EINVAL) failures++;
        printf("%d failures\n", failures);
    } else {
        keep(3, 1000);
        pass_a_tick();
        heapsum_mark("first");
        keep(5, 2000);
        pass_a_tick();
        heapsum_mark("second, with a name that is longer than the forty bytes that are kept");
        keep(7, 3000);
    }
    puts("done");
    return 0;
}
