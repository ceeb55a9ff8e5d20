/*
 * Changing the environment that a program is started with. LD_PRELOAD names this library. If the new program can't
 * reach or load it, the loader would print an error on the program's stderr, because of us.
 *
 * Everything here may be called between vfork and exec: it writes only to memory that it is given, allocates nothing,
 * and keeps errno. Another thread may change the environment meanwhile, so each entry is read once, and each text is
 * copied up to the length that it had then.
 */
#ifndef HEAPSUM_MENDING_H
#define HEAPSUM_MENDING_H

#include <stdbool.h>
#include <stddef.h>

#include "hooks/foreign.h"

/* An entry to replace. */
struct mended_entry {
    ptrdiff_t place; /* -1: none */
    const char *text;
    size_t length;
};

/*
 * What has to change in an environment before it is passed on. AddressSanitizer's shared runtime ends a program in
 * which it isn't the first library, and after a preload it isn't. So the option that turns this check off is added if
 * the program's own options lack it (heaprun sets it if there are no options).
 */
struct mending {
    struct mended_entry preload, sanitizer;
    size_t count; /* of entries, without the NULL */
    size_t bytes; /* that the changed environment takes; 0: nothing changes */
};

/* Examines an environment, NULL-terminated or NULL. One that can't be read is left to the kernel. Cost: some system
 * calls for each library named, and for the program. */
struct mending mending_of(char *const *env, const struct started *started);

/* Writes the changed environment into `space` (`mending->bytes` bytes, aligned for pointers); returns it. */
char *const *mend(char *const *env, const struct mending *mending, void *space);

/* Changes the environment in place, for programs that libc starts itself: system() and popen(). */
void mend_in_place(char **env);

#endif
