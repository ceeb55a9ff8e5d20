/*
 * Whether a program that is about to start could load this library.
 */
#ifndef HEAPSUM_FOREIGN_H
#define HEAPSUM_FOREIGN_H

#include <stdbool.h>

/* A program about to be started. */
struct started {
    const char *path; /* NULL: not known */
    int directory;    /* that a relative path starts at, or AT_FDCWD; if `path` is empty, the program itself */
    bool search;      /* search PATH for a path without a slash */
};

/*
 * Whether the program is for another architecture, or is a script for such a program: its loader could not load this
 * library, and would print an error. False if that can't be found out without harm: opening and closing a file drops
 * this process's POSIX locks on it (fcntl(2)). May be called between vfork and exec; keeps errno. Cost: some system
 * calls and a read of /proc/locks.
 */
bool foreign_program(const struct started *started);

#endif
