/*
 * Being in a hook: what each interposed function does first and last.
 */
#ifndef HEAPSUM_HOOK_H
#define HEAPSUM_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "image/image.h"
#include "threads/thread.h"

#define EXPORT __attribute__((visibility("default")))
/* Reached by the exported jump of hooks/passing.c. */
#define HOOK __attribute__((used, visibility("hidden")))

/* Of the hook that names them: its frame, whose caller's frame pointer and return address lie there; and where it
 * returns to. */
#define HOOK_FRAME ((uintptr_t)__builtin_frame_address(0))
#define HOOK_CALLER ((uintptr_t)__builtin_return_address(0))

/* One hook under way, on its own stack frame. */
struct hook {
    uint32_t level;   /* 0, or the number of hooks that a signal handler interrupted */
    uint32_t stack;   /* set by hook_stack */
    uintptr_t frame;  /* the hook's own: its caller's frame pointer and return address lie there */
    uintptr_t caller; /* where the hook returns to */
    bool ours;        /* the call is the recorder's: its block is marked as such, and no event */
};

/*
 * The number of the image while this process may book into it, else 0: in a page of its own, which a raw clone without
 * CLONE_VM wipes. It is no pointer: an early call must find 0 here before the loader has filled this library's pointers
 * in.
 */
extern HIDDEN union hook_live {
    uint64_t word;
    uint8_t page[HEAP_PAGE_BYTES];
} hook_live;

/*
 * Whether the memory is another process's: this one is a child of vfork, which is about to exec. What is kept in memory
 * must stay the parent's. A system call.
 */
static inline bool hook_memory_is_borrowed(void) {
    return load_acquire(&hook_live.word) != 0 && image.header->pid != system_process(); /* partner: go_live's release */
}

/*
 * Enters the common hook: this thread is in none, and has all that it needs. False: hook_enter says what is to be done.
 * `frame` is the hook's frame's address.
 */
static inline __attribute__((always_inline)) bool hook_enter_plainly(uintptr_t frame) {
    /* partner: go_live's release */
    if (unlikely(load_acquire(&hook_live.word) != local.plain) || unlikely(local.busy != LOCAL_IDLE)) return false;
    local.owners[0] = frame;
    fence_compiler(); /* a signal that comes in between finds the level free, and leaves it so */
    local.level = 1;
    return true;
}

static inline __attribute__((always_inline)) void hook_leave_plainly(void) {
    fence_compiler(); /* all is booked, as a handler that comes now will see */
    local.level = 0;
}

static inline void hook_leave(const struct hook *hook) {
    if (likely(hook->level < HOOK_LEVELS)) local.level = hook->level;
}

/* Whether a ring can take the event: at level 0, for a thread with a record. */
static inline bool hook_has_ring(const struct hook *hook) { return hook->level == 0 && local.record != NULL; }

#endif
