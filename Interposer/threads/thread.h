/*
 * What each thread has: a record and a ring in the image, scratch memory outside of it, and the state of
 * the hooks that it is in.
 */
#ifndef HEAPSUM_THREAD_H
#define HEAPSUM_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "image/image.h"

/* A hook, and two signal handlers' hooks inside of it; deeper ones are booked under the empty stack. */
#define HOOK_LEVELS 3

/* Work space for unwinding, and what a thread remembers of its stacks: stacks/scratch.h. */
struct scratch;

/* A thread folds its ring when it has not for so long. */
#define THREAD_FOLD_MILLISECONDS 128

/* Where the kernel's coarse clock stood when this thread last looked, and what that comes to. */
struct thread_clock {
    struct timespec seen;
    uint64_t milliseconds; /* since the recording's start */
    uint32_t tick;
};

/* The branches of the live map's fine half that this thread used last: each covers 256 MB. */
#define THREAD_BRANCHES 4
struct thread_branch {
    uint64_t region; /* address >> 28, and one more; 0: none */
    uint32_t *entries;
};

/* No image's number. */
#define IMAGE_NONE UINT64_MAX

/*
 * Small, as it lies in every thread's static TLS, which smaller stacks have to hold too. `image` says which image
 * `record` and `ring` belong to: after a fork they are not this process's.
 */
struct local {
    /* as `image`, where this thread has all that a common event needs: a record, scratch memory, our own unwinder. Else
     * IMAGE_NONE */
    uint64_t plain;
    union {
        struct {
            uint32_t level; /* hooks that this thread is in */
            uint16_t ours;  /* above 0: what is allocated now is the recorder's */
            uint16_t ready; /* 1; 0 before the loader has put initial values here, which it does last */
        };
        uint64_t busy; /* all of them */
    };
    uintptr_t owners[HOOK_LEVELS]; /* of those hooks: their stack pointers */
    struct heap_thread *record;    /* NULL: there are more threads than records */
    struct heap_ring *ring;
    struct scratch *scratch; /* NULL: no memory for it; stacks are empty */
    uint64_t fold_at;        /* the ring's head at which it is folded */
    struct thread_clock clock;
    struct thread_branch branches[THREAD_BRANCHES];
    uint64_t image; /* 0: not attached yet */
    uint32_t index;
    uint32_t unwinding;         /* above 0: a stack is being unwound */
    uintptr_t runtime_operator; /* the last operator new or delete that a hook found by its caller, and called */
};

#define LOCAL_IDLE (1ull << 48) /* `busy` of a thread that is in no hook */

extern HIDDEN __thread struct local local;

/* The number of the image in use: 1, and one more after each fork. */
extern HIDDEN uint64_t image_number;

/* The coarse clock moved on, to `now`. */
void thread_clock_moved(struct timespec now);

/* Brings this thread's clock up to date: some loads in the vDSO, no system call, and no arithmetic but every 1 to 4 ms.
 */
static inline const struct thread_clock *thread_clock(void) {
    const struct timespec now = system_clock(CLOCK_MONOTONIC_COARSE);
    if (unlikely(now.tv_nsec != local.clock.seen.tv_nsec || now.tv_sec != local.clock.seen.tv_sec))
        thread_clock_moved(now);
    return &local.clock;
}

/* The thread's id by the kernel: a system call. */
uint32_t thread_id(void);

/* The frame that roots this thread's stacks, where they are rooted so. */
static inline uint64_t thread_root(void) {
    return heap_frame_make(HEAP_MODULE_THREAD, local.record != NULL ? local.record->tid : thread_id());
}

#endif
