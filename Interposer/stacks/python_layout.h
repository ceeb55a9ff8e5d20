/*
 * Where CPython keeps what a stack of Python functions is read from. CPython has no interface for that: the offsets are
 * those of its internal structures, by version.
 */
#ifndef HEAPSUM_PYTHON_LAYOUT_H
#define HEAPSUM_PYTHON_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loaded;
struct symbols;

/* Offsets in bytes. */
struct python_layout {
    struct {
        uint32_t finalizing; /* the thread state that ends the interpreter; NULL: none */
        uint32_t key;        /* the pthread key of a thread's state: whether it is made, and its number (Py_tss_t) */
        uint32_t holder;     /* the state whose thread holds the lock; in 3.11 NULL if none does */
        uint32_t locked;     /* whether one does; 0: `holder` says it */
        uint32_t used_lock;  /* the main interpreter's pointer to the lock that it uses, … */
        uint32_t lock;       /* … which is its own; 0: not looked at */
    } runtime;               /* _PyRuntime */
    struct {
        uint32_t thread;     /* pthread_self() */
        uint32_t frame;      /* the innermost frame, or … */
        uint32_t cframe;     /* … the innermost call of the interpreter's loop; 0: there is no such record */
        uint32_t root_frame; /* the record that stands for no call, in 3.11 */
    } state;                 /* PyThreadState */
    struct {
        uint32_t frame, previous;
    } cframe; /* _PyCFrame */
    struct {
        uint32_t code, previous, instruction, owner;
    } frame; /* _PyInterpreterFrame */
    struct {
        uint32_t first_line, file, name, lines, first_traceable, instructions;
    } code; /* PyCodeObject */
    struct {
        uint32_t state, length, hash, ascii, wide; /* the last two: where the characters begin */
    } string;                                      /* PyASCIIObject, PyCompactUnicodeObject */
    struct {
        uint32_t size, bytes;
    } bytes;       /* PyBytesObject */
    uint32_t type; /* PyObject */
};

/* Bytes from an object's start that hold all of the above. */
#define PYTHON_STATE_BYTES 512
#define PYTHON_FRAME_BYTES 80
#define PYTHON_CODE_BYTES 256
#define PYTHON_STRING_BYTES 80

/* A process's CPython. */
struct python_runtime {
    uintptr_t address; /* of _PyRuntime */
    uintptr_t code_type, string_type;
    uint32_t version; /* Py_Version: 0x030B02F0 is 3.11.2 */
    bool is_read;     /* its frames can be read: the version is known, and its offsets make sense */
    bool by_cframes;  /* a call of the loop is a _PyCFrame on the stack (3.11), not a frame there (3.12 on) */
    struct python_layout layout;
};

/* Looks for a CPython, and for greenlet, in a module that appears in a stack for the first time. Cost: two looks into
 * the module's hash table. Lock-free; async-signal-safe. */
void python_look(const struct loaded *module);

/* The process's CPython; NULL if none was found. Forgets one that was unloaded. */
const struct python_runtime *python_runtime(void);

/* Whether a module of greenlet was met, and whether an address is in one. CPython never unloads extension modules. */
bool python_has_greenlets(void);
bool python_is_greenlets(uintptr_t pc);

#endif
