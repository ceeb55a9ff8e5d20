/*
 * A thread's Python frames, read from CPython's own structures: without calling it, without its lock.
 */
#ifndef HEAPSUM_PYTHON_CHAIN_H
#define HEAPSUM_PYTHON_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/heap_image.h"
#include "stacks/python_layout.h"

/* At most this many Python frames of a stack are read, in at most this many calls of the interpreter's loop. */
#define PYTHON_FRAMES 4096
#define PYTHON_CALLS 1024

/* A Python function that is being executed. */
struct python_frame {
    uintptr_t code;       /* its code object */
    uint32_t instruction; /* offset of what it executes, in bytes of the code; PYTHON_NOT_BEGUN: before the first */
    /* of the code's file, name, first line and lines, by content: another code object at the same address has
     * another */
    uint64_t print;
};
#define PYTHON_NOT_BEGUN UINT32_MAX

/* A call of the interpreter's loop: a C frame, which executes one Python function and those that it calls. */
struct python_call {
    uintptr_t anchor; /* an address in the C frame */
    uint32_t frames;  /* how many, from the innermost call's on up to and including this call's */
};

/* At most this many characters of a string count: as many as a name keeps (HEAP_PYTHON_FILE_BYTES). */
#define PYTHON_STRING_MOST 1024

/* Pages that could be read, by their numbers. */
#define PYTHON_PAGES 1024

struct python_chain {
    const struct python_runtime *runtime;
    bool is_trusted; /* the thread holds the interpreter's lock, so nobody else changes or frees what is read */
    uint32_t looked; /* chains read since the pages were last forgotten */
    uint32_t count;  /* frames, innermost first */
    uint32_t calls_count;
    uint64_t hash; /* of all of them */
    uintptr_t pages[PYTHON_PAGES];
    uint64_t space[128]; /* a piece of a string or of a table of lines */
    struct python_text {
        uint32_t length;
        char bytes[HEAP_PYTHON_FILE_BYTES];
    } file, name; /* of a frame, while it is looked up */
    struct python_frame frames[PYTHON_FRAMES];
    struct python_call calls[PYTHON_CALLS];
};

enum python_read {
    PYTHON_NONE, /* the thread executes no Python function */
    PYTHON_READ,
    PYTHON_FAILED, /* it does, but what was read makes no sense, or there is too much of it */
};

/* Finds the functions by which a thread's own state is found. Once, at the start. */
void python_chain_start(void);

/* Reads this thread's frames. At level 0 only. Async-signal-safe; takes no lock and allocates nothing. Complexity: some
 * twenty reads for each frame; with another thread in the interpreter, a few system calls for each. */
enum python_read python_chain_read(struct python_chain *chain);

/* Memory of the interpreter: `bytes` bytes at `from`, in place or copied to `space`; NULL if they can't be read. */
const void *python_view(struct python_chain *chain, uintptr_t from, size_t bytes, void *space);

/* A string's characters: UTF-8 or its like in units of 1, 2 or 4 bytes. */
struct python_string {
    uintptr_t characters;
    uint64_t length; /* characters */
    uint64_t hash;   /* as CPython keeps it; UINT64_MAX: not computed yet */
    uint32_t unit;   /* bytes of a character */
    bool is_ascii;
};

/* Reads a string's head; false if it is no string. */
bool python_string_read(struct python_chain *chain, uintptr_t string, struct python_string *head);

#endif
