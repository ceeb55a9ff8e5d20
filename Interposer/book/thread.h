/*
 * What each thread has: a record and a ring in the image, scratch memory outside of it, and the state of
 * the hooks that it is in.
 */
#ifndef HEAPSUM_THREAD_H
#define HEAPSUM_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"
#include "modules.h"
#include "options.h"
#include "unwind_own.h"

/* A hook, and two signal handlers' hooks inside of it; deeper ones are booked under the empty stack. */
#define HOOK_LEVELS 3

/* Frames that are unwound at the most: enough to find a deep recursion's outermost ones. */
#define UNWIND_MOST 4096
#define UNWIND_MOST_NESTED 1280

#define RECENT_STACKS 512

/* One level's work space for a stack. */
struct stack_space {
    uint64_t frames[OPTIONS_DEPTH_MOST + 3]; /* the cut and the thread's own frame beside them */
    uint64_t hashes[OPTIONS_DEPTH_MOST + 3];
};

struct scratch {
    struct own_space own;      /* of level 0, as these are: */
    struct frame_cache frames;
    struct frame_cache nested_frames;
    struct { /* stacks of late, by their hash: seeded, and all of its 64 bits */
        uint64_t hash;
        uint32_t stack;
    } recent[RECENT_STACKS];
    struct stack_space spaces[HOOK_LEVELS];
    struct cfi_space cfi[HOOK_LEVELS];
    void *pcs[UNWIND_MOST];
    void *nested_pcs[HOOK_LEVELS - 1][UNWIND_MOST_NESTED];
};

/*
 * Small, as it lies in every thread's static TLS, which smaller stacks have to hold too. `image` says which image
 * `record` and `ring` belong to: after a fork they are not this process's.
 */
struct local {
    uint64_t image;
    struct heap_thread *record; /* NULL: there are more threads than records */
    struct heap_ring *ring;
    struct scratch *scratch; /* NULL: no memory for it; stacks are empty */
    uint32_t index;
    uint32_t level;                /* hooks that this thread is in */
    uintptr_t owners[HOOK_LEVELS]; /* their stack pointers */
    uint32_t ours;                 /* above 0: what is allocated now is the recorder's */
    uint32_t unwinding;            /* above 0: a stack is being unwound */
};

extern __thread struct local local;

/* The number of the image in use: 1, and one more after each fork. */
extern uint64_t image_number;

/* An image was made: it has no threads yet. */
void threads_start(void);

/* Gives this thread a record, a dead one's where there is one. Keeps errno. */
void thread_attach(void);

/* The thread's id by the kernel: a system call. */
uint32_t thread_id(void);

/* The frame that roots this thread's stacks, where they are rooted so. */
static inline uint64_t thread_root(void) { return heap_frame_make(HEAP_MODULE_THREAD, local.record != NULL ? local.record->tid : thread_id()); }

#endif
