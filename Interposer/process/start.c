/*
 * When recording starts.
 *
 *   COLD ──> STARTING ──> LIVE ──fork──> FORKED ──first call──> STARTING ──> LIVE
 *                   └──> OFF (not to be recorded, or no image could be made)
 *
 * The constructor comes before all others (-z initfirst), libc's among them, so that their allocations are booked. A call
 * before it is booked too where the environment can be read already. A child of fork starts an image at its
 * first call, so that one which only goes on to exec leaves none. The page behind hook_live is wiped in
 * any copied address space: a raw clone, which runs no atfork handler, is noticed by it.
 */
#include "start.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomics.h"
#include "dump.h"
#include "hook.h"
#include "image.h"
#include "live.h"
#include "marks.h"
#include "modules.h"
#include "next.h"
#include "options.h"
#include "signals.h"
#include "thread.h"
#include "tree.h"
#include "unwind.h"

enum phase { COLD, STARTING, LIVE, FORKED, OFF };

static uint32_t phase = COLD;
static uint64_t *live_page;
static uint64_t missed; /* calls that came before, or while another thread was starting */

/* Makes the image and what goes with it. */
static bool go_live(bool forked) {
    if (!image_create()) return false;
    if (forked) or_relaxed(&image.header->flags, HEAP_FLAG_FORKED);
    image.header->unwinder = unwind_kind();
    add_relaxed(&image.header->losses.lost_allocations, swap_relaxed(&missed, 0));
    tree_start();
    live_start();
    threads_start();
    dump_start();
    signals_start();
    uint64_t number = __atomic_add_fetch(&image_number, 1, __ATOMIC_RELEASE); /* partner: hook_enter */
    if (live_page == NULL) {
        void *page = mmap(NULL, HEAP_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) return false;
        madvise(page, HEAP_PAGE_BYTES, MADV_WIPEONFORK); /* before Linux 4.14 the atfork handler alone notices */
        live_page = page;
        hook_live = page;
    }
    store_release(live_page, number); /* partner: hook_enter's acquire, and hook_enter_plainly's */
    start_pauses_changed();
    return true;
}

void start_pauses_changed(void) {
    /* Until the word says what the pauses do: another thread may change them meanwhile. */
    for (;;) {
        uint64_t word = load_relaxed(live_page), wanted = marks_are_paused() ? word | HOOK_PAUSED : word & ~HOOK_PAUSED;
        if (word == 0 || wanted == word) return;
        (void)cas_acq_rel(live_page, &word, wanted);
    }
}

bool start_next(void) {
    if (likely(next_known())) return true;
    if (local.ours != 0) return false;
    local.ours++;
    modules_start();
    next_resolve();
    unwind_start();
    hook_know_allocator((uintptr_t)next.malloc);
    local.ours--;
    return true;
}

static bool start_with(char **env) {
    uint32_t seen = load_acquire(&phase); /* partner: the releases below */
    if (seen == LIVE && load_relaxed(hook_live) == 0) {
        /* Our page was wiped: this is a copy of the process. Where an atfork handler ran, it said so already. */
        if (cas_acq_rel(&phase, &seen, FORKED)) {
            image_abandon();
            seen = FORKED;
        }
    }
    if (seen != COLD && seen != FORKED) {
        if (seen == STARTING) add_relaxed(&missed, 1);
        return seen == LIVE && load_acquire(hook_live) != 0;
    }
    if (seen == COLD && env == NULL) { /* libc is not that far; our constructor comes */
        add_relaxed(&missed, 1);
        return false;
    }
    if (!cas_acq_rel(&phase, &seen, STARTING)) return false;
    int saved = errno, cancellation = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellation); /* open() is a cancellation point, and the malloc that brought us here is none */
    bool forked = seen == FORKED;
    if (!forked) options_read(env);
    bool live = options.record && (!forked || options.follow) && go_live(forked);
    store_release(&phase, live ? LIVE : OFF);
    pthread_setcancelstate(cancellation, NULL);
    errno = saved;
    return live;
}

bool start_recording(void) {
    if (unlikely(load_relaxed(&phase) == OFF)) return false;
    return start_with(environ);
}

void start_stop(void) {
    uint32_t live = LIVE;
    if (!cas_acq_rel(&phase, &live, OFF)) return;
    or_relaxed(&image.header->flags, HEAP_FLAG_STOPPED);
    store_release(live_page, 0); /* partner: hook_enter's acquire */
}

static void before_fork(void) { unwind_fork_begin(); }
static void after_fork_in_parent(void) { unwind_fork_end(false); }

static void after_fork_in_child(void) {
    unwind_fork_end(true);
    uint32_t live = LIVE;
    if (live_page != NULL) store_relaxed(live_page, 0);
    if (cas_acq_rel(&phase, &live, FORKED)) image_abandon();
}

__attribute__((constructor)) static void constructor(int count, char **arguments, char **env) {
    (void)count;
    (void)arguments;
    int saved = errno;
    start_next();
    start_with(env);
    if (load_relaxed(&phase) != LIVE) return;
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    errno = saved;
}
