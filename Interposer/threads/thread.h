/*
 * What each thread has: a record and a ring in the image, scratch memory outside the image, and the state of the hooks
 * that it is in.
 */
#ifndef HEAPSUM_THREAD_H
#define HEAPSUM_THREAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "image/image.h"

/* A hook, and the hooks of two nested signal handlers. Deeper ones are booked under the empty stack. */
#define HOOK_LEVELS 3

/* Work space for unwinding, and the thread's memo of its stacks: stacks/scratch.h. */
struct scratch;

/* A thread folds its ring if the last fold is this old. */
#define THREAD_FOLD_MILLISECONDS 128

/* The kernel's coarse clock when this thread last read it, and the tick computed from it. */
struct thread_clock {
    struct timespec seen;
    uint64_t milliseconds; /* since the recording's start */
    uint32_t tick;
};

/*
 * The branches of the fine map that this thread used last: each covers 256 MB of glibc's heap, or 64 MB of another's.
 * A branch and what it covers are one word, because a signal handler's hook may remember another between two stores, or
 * two loads.
 */
#define THREAD_BRANCHES 4
static inline uint64_t thread_branch(uint64_t region, uint32_t piece) { return (region + 1) << 32 | piece; }
static inline bool thread_branch_covers(uint64_t branch, uint64_t region) { return branch >> 32 == region + 1; }
static inline uint32_t thread_branch_piece(uint64_t branch) { return (uint32_t)branch; }

/* A number that no image has. */
#define IMAGE_NONE UINT64_MAX

/*
 * A thread's state. It is small, because it is in every thread's static TLS, which takes room from the thread's stack.
 * `image` says which image `record` and `ring` belong to: after a fork they belong to the parent's.
 */
struct local {
    /* One of `plain` and `sampled` equals `image` if this thread has all that a common event needs: a record, scratch
     * memory, an unwinder that calls nothing. `plain` says as well that every allocation is booked, so that such a
     * recording pays nothing for sampling, and that the memo finds the stacks. `passing`: in a sampled recording, calls
     * may pass before a hook is entered. Else IMAGE_NONE.
     */
    uint64_t plain, sampled, passing;
    union {
        struct {
            uint16_t ready; /* 1; 0 before the loader has set initial values, which is its last step */
            uint16_t ours;  /* above 0: allocations are the recorder's own */
            uint32_t level; /* hooks that this thread is in */
        };
        uint64_t busy; /* all of them */
    };
    /* See threads/sample.h. `left` is the number of bytes before the next drawn one, by which calls pass before a hook
     * is entered; `left_inside` is the same, checked inside a hook. One of the two is in use, and the other is 0.
     * `first_left` is the countdown's last start, `random` the generator. */
    int64_t left, left_inside, first_left;
    uint64_t random;
    uintptr_t owners[HOOK_LEVELS]; /* the frame pointers of those hooks; 0: free, or not known yet */
    struct heap_thread *record;    /* NULL: no record was left */
    struct heap_ring *ring;
    struct scratch *scratch; /* NULL: no memory for it; this thread's stacks are empty */
    uint64_t fold_at;        /* fold the ring when its head gets here */
    uint64_t summed;         /* the ring's events before this one are in the process's sums */
    struct thread_clock clock;
    uint64_t branches[THREAD_BRANCHES]; /* thread_branch; 0: none */
    uint64_t image; /* 0: not attached yet; IMAGE_NONE: attaching, and nothing of an earlier image is left */
    uint32_t index;
    uint32_t unwinding; /* above 0: a stack is being unwound */
    uint32_t attaching; /* above 0: a hook at the level below is getting a record (process/attach.h) */
    uint32_t ignoring;  /* above 0: what the thread allocates is no leak (hooks/lsan_api.c) */
    /* What it works for (stacks/tags.h); 0: nothing. `tag` is what stacks are rooted in, `tag_set` what the program
     * said by heapsum_tag. They differ if the tag is OpenTelemetry's (stacks/thread_context.h). */
    union {
        struct {
            uint32_t tag, tag_set;
        };
        uint64_t tags; /* both: a signal handler may set them, too */
    };
    /* The frame of a start that holds this thread's signals back, or 0; the mask before (process/start.c). */
    uintptr_t holding;
    uint64_t held;
    uintptr_t runtime_operator; /* the last operator new or delete that a hook found by its caller and called */
};

#define LOCAL_IDLE 1ull /* `busy` while the thread is in no hook */

extern HIDDEN __thread struct local local;

/* The number of the image in use: 1, and 1 more after each fork. */
extern HIDDEN uint64_t image_number;

/* Recomputes this thread's clock for a new reading of the coarse clock. */
void thread_clock_moved(struct timespec now);

/* Updates this thread's clock. Cost: some loads in the vDSO, no system call; arithmetic only every 1 to 4 ms. */
static inline const struct thread_clock *thread_clock(void) {
    const struct timespec now = system_clock(CLOCK_MONOTONIC_COARSE);
    if (unlikely(now.tv_nsec != local.clock.seen.tv_nsec || now.tv_sec != local.clock.seen.tv_sec))
        thread_clock_moved(now);
    return &local.clock;
}

/* The kernel's id of this thread. A system call. */
uint32_t thread_id(void);

/* The root frame of this thread's stacks, if stacks are rooted in threads. */
static inline uint64_t thread_root(void) {
    return heap_frame_make(HEAP_MODULE_THREAD, local.record != NULL ? local.record->tid : thread_id());
}

#endif
