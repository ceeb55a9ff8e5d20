/*
 * Starting to record.
 *
 *   COLD ──> STARTING ──> LIVE ──fork──> FORKED ──first call──> STARTING ──> LIVE
 *                   └──> OFF (not to be recorded, or no image could be made)
 *   any but STARTING and LIVE ──attached──> STARTING ──> LIVE ──detached──> OFF
 *
 * The constructor runs before all others, libc's included (-z initfirst), so that their allocations are booked. A call
 * before the constructor is booked too if the environment can already be read. A fork's child starts its image at its
 * first call, so a child that only execs leaves none. The kernel wipes the page of hook_live in any copy of the address
 * space; that reveals a raw clone, which runs no atfork handler.
 */
#include "process/start.h"

#include <errno.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "book/hints.h"
#include "book/live.h"
#include "book/pauses.h"
#include "book/ring.h"
#include "image/create.h"
#include "image/image.h"
#include "process/attach.h"
#include "process/dump.h"
#include "process/marks.h"
#include "process/signals.h"
#include "stacks/modules.h"
#include "stacks/tree.h"
#include "stacks/unwind.h"
#include "threads/hook.h"
#include "threads/thread.h"

enum phase { COLD, STARTING, LIVE, FORKED, OFF };

static uint32_t phase = COLD;
static uint64_t missed; /* calls before recording started, or while another thread was starting it */

void start_miss(void) { add_relaxed(&missed, 1); }

/* Makes the image and everything around it; false if that fails. */
static bool go_live(bool forked) {
    if (!image_create()) return false;
    if (forked) or_relaxed(&image.header->flags, HEAP_FLAG_FORKED);
    image.header->unwinder = unwind_kind();
    add_relaxed(&image.header->losses.early_allocations, swap_relaxed(&missed, 0));
    tree_start();
    live_start();
    hints_start();
    threads_start();
    dump_start();
    ring_grown = marks_grown;
    signals_start();
    uint64_t number = __atomic_add_fetch(&image_number, 1, __ATOMIC_RELEASE); /* partner: hook_enter */
    /* before Linux 4.14 only the atfork handler notices a fork */
    system_advise(&hook_live, HEAP_PAGE_BYTES, MADV_WIPEONFORK);
    store_release(&hook_live.word, number); /* partner: hook_enter's acquire, and hook_enter_plainly's */
    start_pauses_changed();
    return true;
}

void start_pauses_changed(void) {
    /* Repeat until the word agrees with the pauses, which another thread may change meanwhile. */
    for (;;) {
        uint64_t word = load_relaxed(&hook_live.word),
                 wanted = pauses_are_on() ? word | HOOK_PAUSED : word & ~HOOK_PAUSED;
        if (word == 0 || wanted == word) return;
        (void)cas_acq_rel(&hook_live.word, &word, wanted);
    }
}

bool start_next(void) {
    if (likely(next_known())) return true;
    if (!next_resolve()) return false;
    for (size_t i = 0; i < OPERATOR_COUNT; i++)
        if (next_operators[i].function != NULL && !next_operators[i].brings_own)
            callers_know(&callers.runtime, (uintptr_t)next_operators[i].function);
    unwind_start();
    callers_know(&callers.allocator, (uintptr_t)next.malloc);
    return true;
}

/* Why this process can't be recorded, judging by how it was loaded; NULL if it can be. */
static const char *obstacle(void) {
    if (!loader_has_glibc()) return "not recorded, as its C library is not glibc: ";
    if (loader_glibc_is_first())
        return "not recorded, as glibc stands before libheapsum.so in LD_PRELOAD, or is the program itself: ";
    return NULL;
}

static bool start_with(char **env) {
    uint32_t seen = load_acquire(&phase); /* partner: the releases below */
    if (seen == LIVE && load_relaxed(&hook_live.word) == 0) {
        /* Our page was wiped: this is a copy of the process. If the atfork handler ran, it has set FORKED already. */
        if (cas_acq_rel(&phase, &seen, FORKED)) {
            image_abandon();
            seen = FORKED;
        }
    }
    if (seen != COLD && seen != FORKED) {
        if (seen == STARTING) add_relaxed(&missed, 1);
        return seen == LIVE && load_acquire(&hook_live.word) != 0;
    }
    if (seen == COLD && env == NULL) { /* libc is not initialized; our constructor will run later */
        add_relaxed(&missed, 1);
        return false;
    }
    if (!cas_acq_rel(&phase, &seen, STARTING)) return false;
    bool forked = seen == FORKED;
    if (!forked) {
        options_read(env);
        const char *why = options.record ? obstacle() : NULL;
        if (why != NULL) {
            message(why, options.program);
            options.record = false;
        }
    }
    bool live = options.record && (!forked || options.follow) && system_may_write() && go_live(forked);
    store_release(&phase, live ? LIVE : OFF);
    return live;
}

bool start_recording(void) {
    if (unlikely(load_relaxed(&phase) == OFF)) return false;
    return start_with(loader_environment());
}

bool start_may_record(void) {
    uint32_t seen = load_acquire(&phase);
    return seen == LIVE ? load_acquire(&hook_live.word) != 0 || !hook_memory_is_borrowed() : seen != OFF;
}

void start_stop(void) {
    uint32_t seen = swap_relaxed(&phase, OFF);
    /* Programs started from now on run without the library, because they inherit the filter. */
    __atomic_store(
        &system_forbidden, &(struct system_forbidden){.looks = system_forbids(true), .files = true}, __ATOMIC_RELAXED);
    if (seen == OFF) return;
    if (load_relaxed(&hook_live.word) != 0) or_relaxed(&image.header->flags, HEAP_FLAG_STOPPED);
    store_release(&hook_live.word, 0); /* partner: hook_enter's acquire */
}

/* Identifies this library, which atfork handlers and destructors belong to. */
extern void *__dso_handle __attribute__((visibility("hidden")));

static void before_fork(void) { unwind_fork_begin(); }
static void after_fork_in_parent(void) { unwind_fork_end(false); }

static void after_fork_in_child(void) {
    unwind_fork_end(true);
    system_close_inherited();
    uint32_t live = LIVE;
    store_relaxed(&hook_live.word, 0);
    if (cas_acq_rel(&phase, &live, FORKED)) image_abandon();
}

/* Only once in a process: a handler can't be removed, and a second one would do the same. */
static void watch_forks(void) {
    static uint32_t watched;
    if (swap_relaxed(&watched, 1)) return;
    int saved = errno;
    int (*at_fork)(void (*)(void), void (*)(void), void (*)(void), void *);
    *(void **)&at_fork = loader_libc("__register_atfork");
    if (at_fork != NULL) at_fork(before_fork, after_fork_in_parent, after_fork_in_child, &__dso_handle);
    errno = saved;
}

bool start_attached(char **env) {
    uint32_t seen = load_acquire(&phase);
    if (seen == STARTING || seen == LIVE || !start_next() || !loader_has_glibc()) return false;
    if (!cas_acq_rel(&phase, &seen, STARTING)) return false;
    options_read(env);
    options.follow = false; /* no heaprun would collect a child's image; attach to the child instead */
    image_forget();         /* the earlier recording's image, or what a fork's child has in its place */
    threads_forget();
    bool live = options.record && system_may_write() && go_live(false);
    if (live) or_relaxed(&image.header->flags, HEAP_FLAG_ATTACHED);
    if (live) watch_forks();
    store_release(&phase, live ? LIVE : OFF);
    return live;
}

bool start_detached(void) {
    uint32_t seen = LIVE;
    if (load_relaxed(&hook_live.word) == 0 || !cas_acq_rel(&phase, &seen, OFF)) return false;
    or_relaxed(&image.header->flags, HEAP_FLAG_DETACHED);
    store_release(&hook_live.word, 0); /* partner: hook_enter's acquire */
    return true;
}

__attribute__((constructor)) static void constructor(int count, char **arguments, char **env) {
    (void)count;
    (void)arguments;
    if (!start_next() || !loader_has_glibc()) return; /* another C library's loader passes no arguments */
    if (loader_is_late()) return;                     /* loaded by dlopen: heapsum_attach starts the recording */
    start_with(env);
    if (load_relaxed(&phase) == LIVE) watch_forks();
}
