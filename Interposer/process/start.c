/*
 * Starting to record.
 *
 *   COLD ──> STARTING ──> LIVE ──fork──> FORKED ──first call──> STARTING ──> LIVE
 *                   └──> OFF (not to be recorded, or no image could be made)
 *   any but STARTING and LIVE ──attached──> STARTING ──> LIVE ──detached──> OFF
 *   COLD ──dormant──> ASLEEP ──asked──> STARTING ──> LIVE ──detached──> ASLEEP
 *
 * The constructor runs before all others, libc's included (-z initfirst), so that their allocations are booked. A call
 * before the constructor is booked too if the environment can already be read. A fork's child starts its image at its
 * first call, so a child that only execs leaves none. The kernel wipes the page of hook_live in any copy of the address
 * space; that reveals a raw clone, which runs no atfork handler.
 */
#include "process/start.h"

#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "base/atomics.h"
#include "base/loader.h"
#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "book/drawn.h"
#include "book/hints.h"
#include "book/live.h"
#include "book/pauses.h"
#include "book/pools.h"
#include "book/ranges.h"
#include "book/ring.h"
#include "image/create.h"
#include "image/image.h"
#include "process/attach.h"
#include "process/dormant.h"
#include "process/dump.h"
#include "process/marks.h"
#include "process/signals.h"
#include "stacks/modules.h"
#include "stacks/thread_context.h"
#include "stacks/tree.h"
#include "stacks/unwind.h"
#include "threads/hook.h"
#include "threads/thread.h"

enum phase { COLD, STARTING, LIVE, FORKED, OFF, ASLEEP };

/*
 * Keeps signals out while the phase is STARTING. A handler that left by longjmp would leave that phase, too, and the
 * process would never be recorded. A start takes a millisecond or so. Where a filter forbids the call, signals come as
 * ever.
 */
static bool hold_signals(system_signals *before) {
    if (local.holding != 0 || !system_may_look()) return false;
    if (system_mask(SIG_BLOCK, SYSTEM_SIGNALS_FROM_ELSEWHERE, before) != 0) return false;
    local.held = *before;
    fence_compiler();
    local.holding = (uintptr_t)__builtin_frame_address(0);
    return true;
}
static void let_signals(bool held, system_signals before) {
    if (!held) return;
    local.holding = 0;
    system_mask(SIG_SETMASK, before, NULL);
}

/* Those that can't be held may be sent as well, and a handler may leave by _longjmp, which keeps the mask. The thread's
 * next call gives the mask back, if it is no handler's: between that and the start there would be a signal's frame. */
#define LEAST_SIGNAL_FRAME 512
static void let_signals_of_left_start(void) {
    const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    if (local.holding != 0 && frame + LEAST_SIGNAL_FRAME > local.holding) let_signals(true, local.held);
}

static uint32_t phase = COLD;
static bool is_copy;    /* the image's addresses are a parent's, and not ours to unmap */
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
    ranges_start();
    pools_start();
    threads_start();
    thread_context_start();
    drawn_start(); /* after the interval is known */
    dump_start();
    ring_grown = marks_grown;
    signals_start();
    is_copy = false;
    dormant_control.settled = 0;
    store_relaxed(&hook_live.home, system_process());
    uint64_t number = __atomic_add_fetch(&image_number, 1, __ATOMIC_RELEASE); /* partner: hook_enter */
    /* before Linux 4.14 only the atfork handler notices a fork */
    system_advise(&hook_live, sizeof hook_live, MADV_WIPEONFORK);
    store_release(&hook_live.word, number); /* partner: hook_word's acquire */
    start_pauses_changed();
    return true;
}

void start_pauses_changed(void) {
    /* Repeat until the word agrees with the pauses, which another thread may change meanwhile. */
    for (;;) {
        uint64_t word = load_relaxed(&hook_live.word),
                 wanted = pauses_are_on() ? word | HOOK_PAUSED : word & ~HOOK_PAUSED;
        if (!hook_word_is_live(word) || wanted == word) return;
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
    if (!loader_has_glibc() && !loader_has_musl()) return "not recorded, as its C library is neither glibc nor musl: ";
    if (loader_libc_is_first())
        return "not recorded, as libc stands before libheapsum.so in LD_PRELOAD, or is the program itself: ";
    return NULL;
}

/* Nothing is recorded: lets the hooks of the common functions pass their calls on at once. Not if a block is the
 * arena's, because its free must not be passed on. */
static void pass_all(void) {
    uint64_t none = 0;
    if (next_known() && !arena_is_used()) cas_acq_rel(&hook_live.word, &none, HOOK_ASLEEP);
}

/* The state while nothing is recorded, or for good. */
static uint32_t resting(void) { return dormant ? ASLEEP : OFF; }

static void rest(uint32_t in) {
    if (in == ASLEEP && load_relaxed(&hook_live.home) == 0) store_relaxed(&hook_live.home, system_process());
    store_release(&phase, in);
    dormant_may_be_asked(in == ASLEEP);
    pass_all();
}

static void start_by_signal(void);

/* For a process that is dormant from its start. */
static void fall_asleep(void) {
    dormant_begin();
    system_advise(&hook_live, sizeof hook_live, MADV_WIPEONFORK);
    signals_unrecorded = start_by_signal;
    signals_start();
    rest(ASLEEP);
}

/* Signals are held, and the phase is STARTING. `seen`: the one before. */
static bool start_from(uint32_t seen, char **env) {
    const bool forked = seen == FORKED;
    if (!forked) {
        options_read(env);
        const char *why = options.record ? obstacle() : NULL;
        if (why != NULL) {
            message(why, options.program);
            options.record = false;
        }
    }
    if (!forked && options.record && options.dormant) {
        fall_asleep();
        return false;
    }
    bool live = options.record && (!forked || options.follow) && !dormant && system_may_write() && go_live(forked);
    if (live) store_release(&phase, LIVE);
    else rest(resting());
    return live;
}

static bool start_with(char **env) {
    uint32_t seen = load_acquire(&phase); /* partner: the releases below */
    if (seen == LIVE && load_relaxed(&hook_live.word) == 0) {
        /* Our page was wiped: this is a copy of the process. If the atfork handler ran, it has set FORKED already. */
        if (cas_acq_rel(&phase, &seen, FORKED)) {
            image_abandon();
            is_copy = true;
            seen = FORKED;
        }
    }
    if (seen != COLD && seen != FORKED) {
        if (seen == STARTING) {
            let_signals_of_left_start();
            add_relaxed(&missed, 1);
        }
        return seen == LIVE && hook_is_live();
    }
    if (seen == COLD && env == NULL) { /* libc is not initialized; our constructor will run later */
        add_relaxed(&missed, 1);
        return false;
    }
    system_signals before = 0;
    const bool held = hold_signals(&before), live = cas_acq_rel(&phase, &seen, STARTING) && start_from(seen, env);
    let_signals(held, before);
    return live;
}

/* Frees what is left of an earlier recording. */
static void forget(void) {
    if (!is_copy) {
        image_forget();
        threads_forget();
    } else {
        memset(&image, 0, sizeof image); /* a hook that the fork interrupted may still use that memory */
    }
}

/* Starts recording in a dormant process, with the settings of `env`, or its own if NULL. The phase is STARTING. */
static uint32_t wake(char **env) {
    if (dormant_locks_all) return HEAPSUM_ATTACH_LOCKED;
    if (image.base != NULL && !is_copy && load_acquire(&dormant_control.settled) == 0) return HEAPSUM_ATTACH_BUSY;
    if (env != NULL) {
        const bool mappings = options.mappings; /* whether the hooks are there was decided at the start */
        dormant_keep_options();
        options_read(env);
        options.mappings = mappings;
        signals_keep();
    } else {
        dormant_options();
    }
    if (!options.record || !system_may_write()) return HEAPSUM_ATTACH_REFUSED;
    forget();
    store_relaxed(&missed, 0); /* what came before the recording is no loss */
    if (!go_live(false)) return HEAPSUM_ATTACH_NO_IMAGE;
    or_relaxed(&image.header->flags, HEAP_FLAG_ATTACHED);
    return HEAPSUM_ATTACH_DONE;
}

static bool wake_held(uint32_t seen, bool by_request) {
    if (!cas_acq_rel(&phase, &seen, STARTING)) return false;
    dormant_may_be_asked(false);
    const char *list[DORMANT_SETTINGS + 1];
    char **env = by_request ? dormant_settings(list, DORMANT_SETTINGS) : NULL;
    uint32_t result = by_request && env == NULL ? HEAPSUM_ATTACH_MIXED : wake(env);
    bool live = result == HEAPSUM_ATTACH_DONE;
    uint64_t asked = HOOK_ASKED;
    if (live) {
        store_release(&phase, LIVE);
    } else {
        (void)cas_acq_rel(&hook_live.word, &asked, 0);
        rest(ASLEEP);
    }
    dormant_answer(result);
    return live;
}

static bool wake_in(uint32_t seen, bool by_request) {
    if (seen != ASLEEP) return false;
    system_signals before = 0;
    const bool held = hold_signals(&before), live = wake_held(seen, by_request);
    let_signals(held, before);
    return live;
}

/* A request of heaprun. */
static bool start_as_asked(void) {
    if (hook_memory_is_borrowed()) return false; /* a vfork's child: the request is for its parent */
    uint32_t seen = load_acquire(&phase);
    uint64_t asked = HOOK_ASKED;
    if (seen == LIVE) { /* heaprun wrote while we were starting by a signal */
        if (cas_acq_rel(&hook_live.word, &asked, load_acquire(&image_number))) start_pauses_changed();
        dormant_answer(HEAPSUM_ATTACH_RECORDED);
        return true;
    }
    if (seen == OFF && cas_acq_rel(&hook_live.word, &asked, 0)) {
        dormant_answer(HEAPSUM_ATTACH_REFUSED);
        rest(OFF);
    }
    return wake_in(seen, true);
}

static void start_by_signal(void) {
    if (!hook_memory_is_borrowed()) wake_in(load_acquire(&phase), false);
}

bool start_recording(void) {
    uint64_t word = load_acquire(&hook_live.word);
    uint32_t seen = load_acquire(&phase);
    if (unlikely(word == HOOK_ASKED)) return start_as_asked();
    if (seen != OFF && seen != ASLEEP) return start_with(loader_environment());
    if (word == 0 && seen == ASLEEP && load_relaxed(&hook_live.home) == 0) {
        is_copy = true; /* our page was wiped: this is a copy of the process */
        rest(ASLEEP);
    }
    if (word == 0) pass_all();
    return false;
}

bool start_may_record(void) {
    uint32_t seen = load_acquire(&phase);
    return seen == LIVE ? hook_is_live() || !hook_memory_is_borrowed() : seen != OFF;
}

void start_stop(void) {
    uint32_t seen = swap_relaxed(&phase, OFF);
    /* Programs started from now on run without the library, because they inherit the filter. */
    __atomic_store(
        &system_forbidden, &(struct system_forbidden){.looks = system_forbids(true), .files = true}, __ATOMIC_RELAXED);
    if (seen == OFF) return;
    if (hook_is_live()) or_relaxed(&image.header->flags, HEAP_FLAG_STOPPED);
    store_release(&hook_live.word, 0); /* partner: hook_word's acquire */
    store_relaxed(&hook_live.home, 0); /* nobody may ask the kernel who we are */
    dormant_may_be_asked(false);
    pass_all();
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
    store_relaxed(&hook_live.home, 0);
    is_copy = true;
    if (cas_acq_rel(&phase, &live, FORKED)) image_abandon();
    if (dormant && load_relaxed(&phase) != OFF) rest(ASLEEP); /* whoever asked, asked the parent */
}

/* Only once in a process: a handler can't be removed, and a second one would do the same. */
static void watch_forks(void) {
    static uint32_t watched;
    if (swap_relaxed(&watched, 1)) return;
    int saved = errno;
    int (*at_fork)(void (*)(void), void (*)(void), void (*)(void), void *);
    /* musl has the function of the standard alone, and needs no handle: it unloads no library. The fourth argument is
     * ignored then. */
    *(void **)&at_fork = loader_libc(loader_has_musl() ? "pthread_atfork" : "__register_atfork");
    local.ours++; /* musl allocates a block for it by malloc */
    if (at_fork != NULL) at_fork(before_fork, after_fork_in_parent, after_fork_in_child, &__dso_handle);
    local.ours--;
    errno = saved;
}

bool start_attached(char **env) {
    uint32_t seen = load_acquire(&phase);
    if (seen == STARTING || seen == LIVE || !start_next() || !loader_has_glibc()) return false;
    if (!cas_acq_rel(&phase, &seen, STARTING)) return false;
    if (dormant) dormant_keep_options();
    dormant_may_be_asked(false);
    if (options_only_change(env)) {
        options_change(env); /* who started this recording, and for whom, stays as it was */
    } else {
        options_read(env);
        if (dormant) signals_keep();
        options.follow = false; /* no heaprun would collect a child's image; attach to the child instead */
    }
    forget();
    bool live = options.record && system_may_write() && go_live(false);
    if (live) or_relaxed(&image.header->flags, HEAP_FLAG_ATTACHED);
    if (live) watch_forks();
    if (live) store_release(&phase, LIVE);
    else rest(resting());
    return live;
}

bool start_detached(void) {
    uint32_t seen = LIVE;
    if (load_relaxed(&hook_live.word) == HOOK_ASKED) start_as_asked();
    /* STARTING keeps a signal from starting another recording meanwhile. */
    if (!hook_is_live() || !cas_acq_rel(&phase, &seen, STARTING)) return false;
    or_relaxed(&image.header->flags, HEAP_FLAG_DETACHED);
    store_release(&hook_live.word, 0); /* partner: hook_word's acquire */
    rest(resting());
    return true;
}

/* The first of this library: that of hooks/x86_64/request_places.c looks at what this one has begun. */
__attribute__((constructor(200))) static void constructor(int count, char **arguments, char **env) {
    (void)count;
    (void)arguments;
    if (!start_next() || (!loader_has_glibc() && !loader_has_musl())) return;
    if (loader_is_late()) return; /* loaded by dlopen: heapsum_attach starts the recording */
    start_with(loader_has_glibc() ? env : loader_environment()); /* musl's loader passes no arguments */
    if (load_relaxed(&phase) == LIVE || dormant) watch_forks();
}
