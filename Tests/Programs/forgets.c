/*
 * Blocks whose frees go past an interposed free, each followed at its place by one of another size: linked with bump.c.
 * Prints how many of these got the place, and frees them.
 */
#include <stdio.h>
#include <stdlib.h>

extern void bump_forget(void);

static __attribute__((noinline)) void *first(size_t bytes) { return malloc(bytes); }
static __attribute__((noinline)) void *second(size_t bytes) { return malloc(bytes); }

int main(void) {
    static const size_t sizes[] = {100, 4096, 511, 200000, 24};
    int same = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            char *volatile old = first(sizes[i]);
            bump_forget();
            char *volatile block = second(sizes[j]);
            same += old == block;
            free(block);
        }
    printf("%d\n", same);
    return 0;
}
