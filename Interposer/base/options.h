/*
 * The options from the environment, read once at the start. A secure-execution process ignores all of them.
 */
#ifndef HEAPSUM_OPTIONS_H
#define HEAPSUM_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/machine.h"

#define OPTIONS_DEPTH_DEFAULT 128
#define OPTIONS_DEPTH_MOST 1024
#define OPTIONS_STACKS_BY_MEMORY UINT64_MAX
#define OPTIONS_STACKS_LEAST 65536 /* of a default; a limit that was asked for may be lower */

struct options {
    bool record;        /* record this program */
    bool follow;        /* and record its children */
    bool verify;        /* compare our unwinder with libunwind, at each stack */
    bool check;         /* check the recorder's invariants, at each event */
    bool threads;       /* root each stack in its thread */
    bool python;        /* put Python frames among the C frames */
    bool mappings;      /* book what the program maps itself */
    bool requests;      /* with mappings: book the pools that the program tells Valgrind of */
    bool dormant;       /* record nothing until asked to */
    bool tells_end;     /* heaprun traces this program, to look for lost blocks at its end */
    bool signal_chosen; /* --signal was given: our handler runs first, then the program's */
    int signal;         /* 0: none */
    uint32_t depth;
    uint32_t unwinder; /* enum heap_unwinder */
    uint64_t maximum_bytes;
    uint64_t maximum_stacks; /* 0: no limit; OPTIONS_STACKS_BY_MEMORY: as many as suit the machine */
    uint64_t dump_growth;    /* a dump each time the live bytes grow by this much since the last; 0: none */
    uint64_t sample;         /* mean bytes between two sampled ones; 0: all allocations are booked */
    uint64_t sample_seed;    /* for tests: the threads' generators start from it; 0: from the time */
    bool dump_at_failure;    /* a dump when an allocation fails */
    char otel_context[128];  /* the attribute of OpenTelemetry's thread context that is the tag; "": none */
    char output[PATH_MAX];   /* absolute; dumps and, without a run directory, images */
    char run_dir[PATH_MAX];  /* absolute, or empty */
    char program[PATH_MAX];  /* the executable's path; argv[0] if /proc is not there */
    char name[NAME_MAX / 2];
    char messages[PATH_MAX];
};

extern HIDDEN struct options options;

/* Reads the environment `env` (NULL-terminated) and the executable's name. */
void options_read(char **env);

/* Whether `env` asks for another rate of a recording, and for nothing else (HEAPSUM_CHANGE=1). */
bool options_only_change(char **env);

/* Takes the rate from `env`; all other options stay. */
void options_change(char **env);

/* Appends one line to the file named by HEAPSUM_MESSAGES, if that is set: the library itself never prints.
 * Async-signal-safe; keeps errno. */
void message(const char *first, const char *second);

#endif
