/*
 * Entering and leaving a hook: what each interposed function does first and last.
 */
#ifndef HEAPSUM_HOOK_H
#define HEAPSUM_HOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "image/image.h"
#include "threads/thread.h"

#define EXPORT __attribute__((visibility("default")))
/* A function that only the exported jump of hooks/passing.c reaches. */
#define HOOK __attribute__((used, visibility("hidden")))

/* For use in a hook: its frame, where its caller's frame pointer and return address are; and its return address. */
#define HOOK_FRAME MACHINE_FRAME
#define HOOK_CALLER ((uintptr_t)__builtin_return_address(0))

/* One hook in progress. It lives on the hook's own stack frame. */
struct hook {
    uint32_t level;             /* 0, or the number of hooks that a signal handler interrupted */
    uint32_t stack;             /* set by hook_stack */
    struct machine_frame frame; /* HOOK_FRAME */
    uintptr_t caller;           /* HOOK_CALLER */
    bool ours;                  /* the recorder's own call: its block is flagged as such, and is no event */
};

/*
 * What hooks have to do, and for which process. It has a page of its own, which the kernel wipes in a copy of the
 * process (raw clone without CLONE_VM). `word` is not a pointer: an early call must find 0 here before the loader has
 * relocated this library.
 */
extern HIDDEN union hook_live {
    struct {
        uint64_t word; /* the number of the image while this process may book into it; else 0, or one of those below */
        uint32_t home; /* the process that this memory belongs to; 0: not known yet */
    };
    uint8_t page[MACHINE_PAGE_MOST];
} hook_live;

/* Nothing is recorded: hooks of the common functions pass their calls on at once. No block is the arena's. */
#define HOOK_ASLEEP (UINT64_MAX - 1)
/* The same, and the next hook looks at heaprun's request (process/dormant.h). heaprun writes this from outside. */
#define HOOK_ASKED (UINT64_MAX - 2)

/* Whether hooks book. Wraps around for 0. */
static inline bool hook_word_is_live(uint64_t word) { return word - 1 < HOOK_ASKED - 1; }
static inline bool hook_is_live(void) {
    return hook_word_is_live(load_acquire(&hook_live.word));
} /* partner: go_live */

/*
 * Whether this process shares another's memory: it is a vfork's child that has not called exec yet. State in memory
 * must stay the parent's. Makes a system call; async-signal-safe.
 */
static inline bool hook_memory_is_borrowed(void) {
    const uint32_t home = load_relaxed(&hook_live.home);
    return home != 0 && home != system_process();
}

/* The word that every hook reads first. */
static inline __attribute__((always_inline)) uint64_t hook_word(void) {
    return load_acquire(&hook_live.word); /* partner: go_live's release */
}

/* Whether nothing is recorded. The common functions ask this first: a dormant library costs little more than one that
 * only passes on each call. */
static inline __attribute__((always_inline)) bool hook_is_asleep(uint64_t word) { return word == HOOK_ASLEEP; }

/* Whether every allocation is booked and this thread has all that a common event needs. Asked before anything else. */
static inline __attribute__((always_inline)) bool hook_is_plain(uint64_t word) { return likely(word == local.plain); }

/* Takes a level for this frame. A signal handler that jumps away before the level is taken leaves it free, and one that
 * does so afterwards leaves an owner whose frame is gone. A handler that allocates before the level is taken takes the
 * level itself, and leaves no owner: so the owner is stored once more. */
static inline __attribute__((always_inline)) void hook_own(uint32_t level, uintptr_t frame) {
    local.owners[level] = frame;
    fence_compiler();
    local.level = level + 1;
    fence_compiler();
    local.owners[level] = frame;
}

/* Gives it back. */
static inline __attribute__((always_inline)) void hook_disown(uint32_t level) {
    fence_compiler();
    local.level = level;
    fence_compiler();
    local.owners[level] = 0;
}

/* After hook_is_plain: enters a hook if this thread is in none. If it returns false, call hook_enter. `frame` is
 * HOOK_FRAME. */
static inline __attribute__((always_inline)) bool hook_enter_idle(struct machine_frame frame) {
    if (unlikely(local.busy != LOCAL_IDLE)) return false;
    hook_own(0, frame.fp);
    return true;
}

/* Both of them. */
static inline __attribute__((always_inline)) bool hook_enter_plainly(struct machine_frame frame) {
    return hook_is_plain(hook_word()) && hook_enter_idle(frame);
}

/* The same two in a sampled recording. */
static inline __attribute__((always_inline)) bool hook_is_sampled(uint64_t word) { return word == local.sampled; }
static inline __attribute__((always_inline)) bool hook_enter_sampled(struct machine_frame frame) {
    return hook_is_sampled(hook_word()) && hook_enter_idle(frame);
}

/* Leaves a hook that one of the above entered. */
static inline __attribute__((always_inline)) void hook_leave_plainly(void) {
    fence_compiler(); /* the event is booked before a handler can see the level free */
    hook_disown(0);
}

static inline void hook_leave(const struct hook *hook) {
    if (likely(hook->level < HOOK_LEVELS)) hook_disown(hook->level);
}

/* Whether a ring can take the event: the hook is at level 0 and its thread has a record. */
static inline bool hook_has_ring(const struct hook *hook) { return hook->level == 0 && local.record != NULL; }

#endif
