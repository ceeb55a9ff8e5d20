/*
 * What the environment asked for, read once at the start. Nothing is honoured in a secure-execution process.
 */
#ifndef HEAPSUM_OPTIONS_H
#define HEAPSUM_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/machine.h"

#define OPTIONS_DEPTH_DEFAULT 128
#define OPTIONS_DEPTH_MOST 1024

struct options {
    bool record;        /* this program is to be recorded */
    bool follow;        /* and its children */
    bool verify;        /* hold our own unwinder against libunwind, at each stack */
    bool check;         /* the recorder holds its own invariants against what it does, at each event */
    bool threads;       /* root each stack in its thread */
    bool tells_end;     /* heaprun traces us, to look for lost blocks at the end */
    bool signal_chosen; /* --signal was given: ours runs, then the program's */
    int signal;         /* 0: none */
    uint32_t depth;
    uint32_t unwinder; /* enum heap_unwinder */
    uint64_t maximum_bytes;
    uint64_t dump_growth;   /* a dump each time that the live bytes pass the last one's by so many; 0: none */
    bool dump_at_failure;   /* a dump when an allocation fails */
    char output[PATH_MAX];  /* absolute; dumps and, without a run directory, images */
    char run_dir[PATH_MAX]; /* absolute, or empty */
    char program[PATH_MAX]; /* the executable's path, or argv[0]'s worth where /proc has none */
    char name[NAME_MAX / 2];
    char messages[PATH_MAX];
};

extern struct options options;

/* Reads the environment `env` (NULL-terminated) and the executable's name. */
void options_read(char **env);

/* Appends one line to HEAPSUM_MESSAGES, where that is set: the library itself never prints. Async-signal-safe; keeps
 * errno. */
void message(const char *first, const char *second);

#endif
