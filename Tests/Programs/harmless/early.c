/*
 * Functions that the loader calls to choose others, before this program or a library is set up, and that allocate. The
 * library's (LIBRARY) is called before a preload is relocated, the program's after.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int chosen(void) { return 1; }
static int other(void) { return 2; }

#define RESOLVER(name, kept) \
    char *kept; \
    static int (*resolve_##name(void))(void) { \
        char *block = malloc(333), *zeroed = calloc(5, 7), *moved = realloc(malloc(20), 40); \
        if (block == NULL || zeroed == NULL || moved == NULL || zeroed[34] != 0) return other; \
        memset(block, 1, 333); \
        free(zeroed); \
        free(moved); \
        kept = block; \
        return chosen; \
    } \
    int name(void) __attribute__((ifunc("resolve_" #name)))

#ifdef LIBRARY
RESOLVER(of_library, kept_by_library);
#else
RESOLVER(of_program, kept_by_program);
int of_library(void);
extern char *kept_by_library;
int main(void) {
    int library = of_library();
    char *grown = realloc(kept_by_library, 400);
    free(kept_by_program);
    void *kept = malloc(4321);
    return printf("%d %d %d %d\n", of_program(), library, grown != NULL && grown[332] == 1, kept != NULL) < 0;
}
#endif
