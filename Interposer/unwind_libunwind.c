/*
 * Unwinding by libunwind, loaded with RTLD_LOCAL and never linked: linked, it would capture the program's
 * _Unwind_* symbols, and every C++ exception with them.
 *
 * libunwind takes locks of its own and, for code that it meets for the first time, the loader's. A fork
 * while another thread holds one would leave the child with a lock that nobody opens; so a fork waits,
 * for some milliseconds at the most, until no thread is inside, and threads wait as long for the fork.
 */
#include "unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "atomics.h"
#include "hook.h"
#include "libc_versions.h"
#include "modules.h"
#include "next.h"
#include "options.h"

enum { NOT_LOADED, LOADING, LOADED, MISSING };
static uint32_t library_state = NOT_LOADED;
static int (*backtrace_of)(void **, int);
static void (*flush_cache)(void *, unsigned long, unsigned long);
static void **local_address_space;
static uintptr_t own_start, own_end, loader_start, loader_end;

/* libunwind puts its architecture in the names of what it exports. */
#if defined(__x86_64__)
#define LIBUNWIND_PREFIX "_ULx86_64"
#elif defined(__aarch64__)
#define LIBUNWIND_PREFIX "_ULaarch64"
#else
#define LIBUNWIND_PREFIX "_UL"
#endif

static uint32_t inside;  /* threads that are unwinding */
static uint32_t forking; /* a fork is about to copy us */
#define WAIT_NANOSECONDS 20000000 /* the most that a thread ever waits here: for a fork, or for another thread that loads libunwind */

void unwind_start(void) {
    module_span_of((uintptr_t)&unwind_start, &own_start, &own_end);
    module_span_of(getauxval(AT_BASE), &loader_start, &loader_end);
}

uint32_t unwind_kind(void) { return load_acquire(&library_state) == LOADED ? HEAP_UNWINDER_LIBUNWIND : HEAP_UNWINDER_NONE; }

void unwind_forget(void) {
    if (unwind_kind() != HEAP_UNWINDER_NONE && flush_cache != NULL && local_address_space != NULL) flush_cache(*local_address_space, 0, 0);
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Waits while `*word` is `value`, but not for long. */
static bool wait_while(const uint32_t *word, uint32_t value) {
    uint64_t until = 0;
    while (load_acquire(word) == value) {
        uint64_t now = nanoseconds();
        if (until == 0) until = now + WAIT_NANOSECONDS;
        else if (now > until) return false;
        sched_yield();
    }
    return true;
}

/*
 * Loads libunwind, at the first call for which that is safe. Our constructor is too early: it comes before libc's,
 * and a dlopen there would run libc's with no arguments and no environment. A call by the loader itself is in the middle
 * of its own work. What is allocated here is not the program's.
 */
static void load(uintptr_t caller) {
    uint32_t seen = NOT_LOADED;
    if (environ == NULL || caller - loader_start < loader_end - loader_start) return;
    if (!cas_acq_rel(&library_state, &seen, LOADING)) {
        if (local.ours == 0) wait_while(&library_state, LOADING);
        return;
    }
    local.ours++;
    void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) {
        backtrace_of = (__typeof__(backtrace_of))dlsym(library, "unw_backtrace");
        flush_cache = (__typeof__(flush_cache))dlsym(library, LIBUNWIND_PREFIX "_flush_cache");
        local_address_space = (void **)dlsym(library, LIBUNWIND_PREFIX "_local_addr_space");
    } else {
        message("libunwind.so.8 is not installed: each stack is its innermost frame alone", "");
    }
    dlerror();
    if (backtrace_of != NULL) {
        hook_know_unwinder((uintptr_t)backtrace_of);
        void *warm[4];
        backtrace_of(warm, 4); /* its one-time preparations */
    }
    store_release(&library_state, backtrace_of != NULL ? LOADED : MISSING); /* partner: unwind, unwind_kind */
    local.ours--;
    store_relaxed(&image.header->unwinder, unwind_kind());
}

void unwind_fork_begin(void) {
    store_relaxed(&forking, 1);
    fence_seq_cst(); /* partner: enter_unwinder: one of the two sees the other */
    for (uint64_t until = nanoseconds() + WAIT_NANOSECONDS; load_acquire(&inside) != 0 && nanoseconds() < until;) sched_yield();
}

void unwind_fork_end(bool in_child) {
    if (in_child) store_relaxed(&inside, 0); /* the other threads are not in this process */
    store_release(&forking, 0);
}

static bool enter_unwinder(void) {
    for (;;) {
        add_relaxed(&inside, 1);
        fence_seq_cst(); /* partner: unwind_fork_begin */
        if (likely(load_relaxed(&forking) == 0)) return true;
        add_relaxed(&inside, (uint32_t)-1);
        if (!wait_while(&forking, 1)) return false;
    }
}

static bool is_own(const void *pc) { return (uintptr_t)pc - own_start < own_end - own_start; }

/*
 * How many of the innermost pcs are not the program's: our hooks, and a C++ runtime's operators new between
 * them (the nothrow ones call the plain ones). Only those lie so: where a signal handler interrupted a hook, frames of
 * more than one module lie between that hook and its own.
 */
static size_t own_frames(void *const *pcs, size_t count) {
    size_t own = 0;
    for (;;) {
        while (own < count && is_own(pcs[own])) own++;
        size_t next_own = own;
        while (next_own < count && next_own < own + 4 && !is_own(pcs[next_own])) next_own++;
        if (next_own == own || next_own == count || next_own == own + 4) return own;
        uintptr_t runtime = module_start_of((uintptr_t)pcs[own]);
        for (size_t between = own; between < next_own; between++)
            if (module_start_of((uintptr_t)pcs[between]) != runtime) return own;
        own = next_own;
    }
}

size_t unwind(void **pcs, size_t most, uintptr_t caller, bool *complete) {
    int saved = errno;
    size_t count = 0;
    *complete = false;
    if (unlikely(load_acquire(&library_state) < LOADED)) load(caller);
    if (likely(load_acquire(&library_state) == LOADED) && likely(enter_unwinder())) {
        int got = backtrace_of(pcs, (int)most);
        add_relaxed(&inside, (uint32_t)-1);
        count = got > 0 ? (size_t)got : 0;
        *complete = count < most;
        size_t own = own_frames(pcs, count);
        count -= own;
        memmove(pcs, pcs + own, count * sizeof *pcs);
    }
    errno = saved;
    if (unlikely(count == 0)) {
        pcs[0] = (void *)caller;
        *complete = false;
        return 1;
    }
    return count;
}
