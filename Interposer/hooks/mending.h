/*
 * The environment that a program is started with, where it can't stay as it is. LD_PRELOAD names this library; where
 * that can't be reached, or can't be loaded, the loader would say so on the new program's stderr, which is our doing.
 *
 * Everything here may be called between vfork and exec: it writes to the memory that it is given, allocates nothing,
 * and keeps errno.
 */
#ifndef HEAPSUM_MENDING_H
#define HEAPSUM_MENDING_H

#include <stdbool.h>
#include <stddef.h>

/* A program about to be started. */
struct started {
    const char *path; /* NULL: not known */
    int directory;    /* what a relative path is relative to, or AT_FDCWD; where `path` is empty, the program itself */
    bool search;      /* a path without a slash is looked for in PATH */
};

/*
 * What an environment needs before it is handed on: entries that are replaced, by their places; -1 where nothing is to
 * be done. A shared AddressSanitizer ends a program in which its library isn't the first, and it isn't behind a
 * preload; the option that takes this as it is, is added where the program's own options lack it (heaprun sets it where
 * there are none).
 */
struct mending {
    ptrdiff_t preload, sanitizer;
    size_t count; /* of entries, the NULL left out */
    size_t bytes; /* that the mended environment takes; 0: it stays */
};

/* Looks at an environment, NULL-terminated or NULL. One that can't be read is left to the kernel. Complexity: an open
 * of each library named, and of the program. */
struct mending mending_of(char *const *env, const struct started *started);

/* Writes the environment that is to be handed on into `space`, of `mending->bytes` bytes, aligned for pointers; returns
 * it. */
char *const *mend(char *const *env, const struct mending *mending, void *space);

/* Mends the environment where it stands, for what libc starts by itself: system() and popen(). */
void mend_in_place(char **env);

#endif
