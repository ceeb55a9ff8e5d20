/*
 * Allocates and frees a few blocks of sizes that no other block has, by each of the functions that a recorder books in
 * a way of its own, and says where they were: what tracers of the recorder's probes must see.
 */
#include <stdio.h>
#include <stdlib.h>

int main(void) {
    static char line[4096]; /* stdout allocates nothing */
    setvbuf(stdout, line, _IOFBF, sizeof line);
    char *first = malloc(10001), *second = calloc(1, 20002), *third = NULL;
    printf("alloc %p 10001\nalloc %p 20002\n", (void *)first, (void *)second);
    printf("free %p\n", (void *)first);
    first = realloc(first, 100003);
    printf("alloc %p 100003\n", (void *)first);
    if (posix_memalign((void **)&third, 64, 40004) != 0) return 1;
    printf("alloc %p 40004\n", (void *)third);
    printf("free %p\nfree %p\nfree %p\n", (void *)second, (void *)third, (void *)first);
    free(second);
    free(third);
    free(first);
    return 0;
}
