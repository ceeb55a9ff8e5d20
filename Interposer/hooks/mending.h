/*
 * The environment that a program is started with, where it can't stay as it is. LD_PRELOAD names this library; where
 * that can't be reached, or can't be loaded, the loader would say so on the new program's stderr, which is our doing.
 *
 * Everything here may be called between vfork and exec: it writes to the memory that it is given, allocates nothing,
 * and keeps errno. Another thread may change the environment meanwhile: each entry is read once, and each text is
 * copied up to the length that it had.
 */
#ifndef HEAPSUM_MENDING_H
#define HEAPSUM_MENDING_H

#include <stdbool.h>
#include <stddef.h>

#include "hooks/foreign.h"

/* An entry to be replaced. */
struct mended_entry {
    ptrdiff_t place; /* -1: none */
    const char *text;
    size_t length;
};

/*
 * What an environment needs before it is handed on. A shared AddressSanitizer ends a program in which its library isn't
 * the first, and it isn't behind a preload; the option that takes this as it is, is added where the program's own
 * options lack it (heaprun sets it where there are none).
 */
struct mending {
    struct mended_entry preload, sanitizer;
    size_t count; /* of entries, the NULL left out */
    size_t bytes; /* that the mended environment takes; 0: it stays */
};

/* Looks at an environment, NULL-terminated or NULL. One that can't be read is left to the kernel. Complexity: a look at
 * each library named, and at the program. */
struct mending mending_of(char *const *env, const struct started *started);

/* Writes the environment that is to be handed on into `space`, of `mending->bytes` bytes, aligned for pointers; returns
 * it. */
char *const *mend(char *const *env, const struct mending *mending, void *space);

/* Mends the environment where it stands, for what libc starts by itself: system() and popen(). */
void mend_in_place(char **env);

#endif
