/*
 * Unwinding by libunwind. It is loaded with RTLD_LOCAL and never linked: if it were linked, it would capture the
 * program's _Unwind_* symbols, and with them every C++ exception.
 *
 * libunwind takes locks of its own, and the loader's lock for code that it sees for the first time. If a fork happened
 * while another thread holds such a lock, nobody would release it in the child. So a fork waits a few milliseconds at
 * most until no thread is inside libunwind, and threads wait as long for the fork.
 */
#include "stacks/libunwind.h"

#include <dlfcn.h>
#include <errno.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/changed.h"
#include "base/loader.h"
#include "base/machine.h"
#include "base/options.h"
#include "base/system.h"
#include "image/image.h"
#include "threads/hook.h"

enum { NOT_LOADED, LOADING, LOADED, MISSING };
static uint32_t library_state = NOT_LOADED;
static int (*backtrace_of)(void **, int);
static void (*flush_cache)(void *, unsigned long, unsigned long);
static void **local_address_space;

static uint32_t inside;  /* threads that are unwinding */
static uint32_t forking; /* a fork is about to copy the process */
/* a thread waits here no longer than this: for a fork, or for another thread that loads libunwind */
#define WAIT_NANOSECONDS 20000000

/* The loader's own functions. */
static struct {
    void *(*open)(const char *, int);
    void *(*symbol)(void *, const char *);
} library_functions;

void libunwind_start(void) {
    *(void **)&library_functions.open = loader_next("dlopen");
    *(void **)&library_functions.symbol = loader_next("dlsym");
}

/*
 * Called after a look-up that may have failed: the program must not find its message in dlerror. A look-up that
 * succeeds clears the message. dlerror() would clear it, too, but first translates it by gettext, and the program may
 * hold gettext's lock at that moment.
 */
static void forget_error(void) { library_functions.symbol(RTLD_DEFAULT, "malloc"); }

bool libunwind_is_loaded(void) { return load_acquire(&library_state) == LOADED; }

/* Clears libunwind's cache if a module was unloaded. */
static void forget_modules(void) {
    static uint32_t generation;
    uint32_t now = loader_generation();
    if (swap_relaxed(&generation, now) == now || flush_cache == NULL || local_address_space == NULL) return;
    flush_cache(*local_address_space, 0, 0);
}

static uint64_t nanoseconds(void) { return system_nanoseconds(CLOCK_MONOTONIC); }

/* Waits while `*word` is `value`, but not for long. */
static bool wait_while(const uint32_t *word, uint32_t value) {
    uint64_t until = 0;
    while (load_acquire(word) == value) {
        uint64_t now = nanoseconds();
        if (until == 0) until = now + WAIT_NANOSECONDS;
        else if (now > until) return false;
        system_yield();
    }
    return true;
}

/*
 * Loads libunwind, at the first call where that is safe. This library's constructor is too early: it runs before
 * libc's, and a dlopen there would run libc's with no arguments and no environment. A call by the loader is not safe
 * either: the loader is in the middle of its own work. What is allocated here is not booked as the program's.
 */
static void load(uintptr_t caller) {
    uint32_t seen = NOT_LOADED;
    if (library_functions.open == NULL || library_functions.symbol == NULL) return;
    if (loader_environment() == NULL || loader_holds(caller)) return;
    if (!cas_acq_rel(&library_state, &seen, LOADING)) {
        if (local.ours == 0) wait_while(&library_state, LOADING);
        return;
    }
    local.ours++;
    void *library = library_functions.open("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) {
        backtrace_of = (__typeof__(backtrace_of))library_functions.symbol(library, "unw_backtrace");
        flush_cache =
            (__typeof__(flush_cache))library_functions.symbol(library, MACHINE_LIBUNWIND_PREFIX "_flush_cache");
        local_address_space = (void **)library_functions.symbol(library, MACHINE_LIBUNWIND_PREFIX "_local_addr_space");
    } else {
        message("libunwind.so.8 is not installed: each stack is its innermost frame alone", "");
    }
    forget_error();
    if (backtrace_of != NULL) {
        callers_know(&callers.unwinder, (uintptr_t)backtrace_of);
        void *warm[4];
        backtrace_of(warm, 4); /* so that it does its one-time preparations now */
    }
    store_release(&library_state, backtrace_of != NULL ? LOADED : MISSING); /* partner: libunwind_is_loaded */
    local.ours--;
    if (options.unwinder == HEAP_UNWINDER_LIBUNWIND)
        store_relaxed(&image.header->unwinder, backtrace_of != NULL ? HEAP_UNWINDER_LIBUNWIND : HEAP_UNWINDER_NONE);
}

void libunwind_fork_begin(void) {
    store_relaxed(&forking, 1);
    fence_seq_cst(); /* partner: enter_unwinder; one of the two sees the other's store */
    for (uint64_t until = nanoseconds() + WAIT_NANOSECONDS; load_acquire(&inside) != 0 && nanoseconds() < until;)
        system_yield();
}

void libunwind_fork_end(bool in_child) {
    if (in_child) store_relaxed(&inside, 0); /* the other threads are not in this process */
    store_release(&forking, 0);
}

static bool enter_unwinder(void) {
    for (;;) {
        add_relaxed(&inside, 1);
        fence_seq_cst(); /* partner: libunwind_fork_begin */
        if (likely(load_relaxed(&forking) == 0)) return true;
        add_relaxed(&inside, (uint32_t)-1);
        if (!wait_while(&forking, 1)) return false;
    }
}

#if defined(__aarch64__)
/*
 * On AArch64 unw_backtrace gives one byte less than the return addresses; instructions lie at multiples of 4. And where
 * the outermost function has not saved x30 (makecontext's start routine), it steps once more, to what x30 holds: that
 * function again.
 */
static void repair(struct pcs *pcs) {
    for (size_t i = 0; i < pcs->count; i++) pcs->values[i] = (void *)(((uintptr_t)pcs->values[i] + 3) & ~(uintptr_t)3);
    if (pcs->count > 1 && pcs->values[pcs->count - 1] == pcs->values[pcs->count - 2]) pcs->count--;
}
#endif

static bool unwind(uintptr_t caller, struct pcs *pcs) {
    int saved = errno;
    pcs->count = 0;
    pcs->complete = false;
    if (unlikely(load_acquire(&library_state) < LOADED)) load(caller);
    bool entered = likely(libunwind_is_loaded()) && likely(enter_unwinder());
    if (entered) {
        local.unwinding++;
        forget_modules();
        int got = backtrace_of(pcs->values, (int)pcs->most);
        local.unwinding--;
        add_relaxed(&inside, (uint32_t)-1);
        pcs->count = got > 0 ? (size_t)got : 0;
#if defined(__aarch64__)
        repair(pcs);
#endif
        pcs->complete = pcs->count < pcs->most;
    }
    errno = saved;
    return entered;
}

/* Apart, because the room for the vectors is large. */
static __attribute__((noinline)) bool unwind_keeping_vectors(uintptr_t caller, struct pcs *pcs) {
    bool answer;
    KEEPING_VECTORS(answer = unwind(caller, pcs));
    return answer;
}

bool libunwind_unwind(uintptr_t caller, struct pcs *pcs) {
    return unlikely(load_relaxed(&code_is_changed)) ? unwind_keeping_vectors(caller, pcs) : unwind(caller, pcs);
}
