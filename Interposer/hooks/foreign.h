/*
 * Whether a program that is about to be started could load this library.
 */
#ifndef HEAPSUM_FOREIGN_H
#define HEAPSUM_FOREIGN_H

#include <stdbool.h>

/* A program about to be started. */
struct started {
    const char *path; /* NULL: not known */
    int directory;    /* what a relative path is relative to, or AT_FDCWD; where `path` is empty, the program itself */
    bool search;      /* a path without a slash is looked for in PATH */
};

/*
 * Whether the program is one for another architecture, or a script for such a one: its loader could not load the
 * library, and would say so. False where that can't be found out without harm: to open and close a file takes away the
 * POSIX locks that this process has on it (fcntl(2)). May be called between vfork and exec; keeps errno. Complexity:
 * some system calls; a read of /proc/locks.
 */
bool foreign_program(const struct started *started);

#endif
