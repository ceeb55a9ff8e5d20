/*
 * What the loader knows: the modules, the module at an address, and the address of a function. All of it is read from
 * the loader's own tables (its list of link maps, each module's DT_GNU_HASH). dlsym is not used: it takes a lock that a
 * thread waiting for us may hold, allocates a message if it fails, and overwrites a message that the program has not
 * read yet.
 */
#ifndef HEAPSUM_LOADER_H
#define HEAPSUM_LOADER_H

#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "include/heap_image.h"

/* One loaded module. */
struct loaded {
    uintptr_t start, end, bias;  /* it occupies [start, end); bias is added to the addresses in its file */
    const char *path;            /* the loader's, valid while the module is loaded; "": the main program */
    const uint8_t *eh_frame_hdr; /* NULL: it has none */
};

/* Examines the process at the first call; later calls do nothing. Call it before anything else in here. It works before
 * libc and other libraries are initialized. */
void loader_start(void);

/* This library's path, as LD_PRELOAD named it; NULL if the loader doesn't list it. */
const char *loader_own_path(void);

/* Whether the C library is glibc, or musl. Neither: nothing can be recorded. */
bool loader_has_glibc(void);
bool loader_has_musl(void);

/* Whether this library is a part of a static program (Interposer/static): there is no loader then. */
bool loader_is_static(void);

/* Whether libc precedes this library in the search order, so that the program's calls reach libc and not us. */
bool loader_libc_is_first(void);

/*
 * The next function of this name after this library, in the order in which the loader searches the modules of the
 * start. If no module after this library has one, the first before it; NULL if there is none. Only for the start of
 * recording: no module may be unloaded meanwhile.
 */
void *loader_next(const char *name);

/* The same, but NULL if no module after this library has one. */
void *loader_next_behind(const char *name);

/* libc's own function of this name, even if another module precedes it; NULL if it has none. Only for the start. */
void *loader_libc(const char *name);

/* The same, in an older symbol version than the default. */
void *loader_old_libc(const char *name);

/*
 * The next function of this name, if it is unrelated to libc's: a library of the program defines it for its own use,
 * and can't pass the call on to libc, as it looks no function up by name. NULL if it is libc's, an allocator's, or may
 * be a wrapper; with `or_wrapper` a wrapper is returned too. Only for the start.
 */
void *loader_unrelated(const char *name, bool or_wrapper);

/* The first function of this name in the modules that precede this library: the program and other preloads. NULL if
 * there is none. */
void *loader_before(const char *name);

/* libc's environment; NULL before libc is initialized. Read from libc itself, because a program may define `environ`.
 */
char **loader_environment(void);

/* Where the kernel put the count of the program's arguments, at which the main thread's stack began: all of its frames
 * lie below. 0 if it isn't known: it is with musl alone. Complexity: a few instructions. */
uintptr_t loader_arguments(void);

/* The same, by libc's environment as it was before the program could change it, behind the arguments. For the start. */
uintptr_t loader_arguments_before(char *const *environment);

/* An entry of the auxiliary vector (getauxval); 0 if there is none. */
unsigned long loader_auxiliary(unsigned long type);

/* The size of the kernel's pages: a multiple of HEAP_PAGE_BYTES, by which the image is laid out. */
static inline uintptr_t loader_page_bytes(void) {
    const uintptr_t bytes = MACHINE_PAGE_MOST > HEAP_PAGE_BYTES ? loader_auxiliary(AT_PAGESZ) : HEAP_PAGE_BYTES;
    return bytes >= HEAP_PAGE_BYTES ? bytes : HEAP_PAGE_BYTES;
}

/* Whether the program was started by naming the loader (ld.so PROGRAM): /proc/PID/exe is the loader then. */
bool loader_is_explicit(void);

/* Whether this library was loaded by dlopen, not with the program: it follows the loader in the list. */
bool loader_is_late(void);

/* Whether the address is in the loader's own code. */
bool loader_holds(uintptr_t address);

/* Finds the module that holds `address`; false if none does. Takes no lock if the loader has _dl_find_object (glibc
 * 2.35), nor with musl; otherwise takes the loader's lock and walks its list. */
bool loader_find(uintptr_t address, struct loaded *found);

/* The path of the module that holds `address`, or NULL; and its first address, or 0. */
const char *loader_path_of(uintptr_t address);
uintptr_t loader_start_of(uintptr_t address);

/* Incremented when a module is unloaded: whatever is kept by address is invalid then. */
extern HIDDEN uint32_t loader_changes;
static inline uint32_t loader_generation(void) { return load_acquire(&loader_changes); } /* partner: modules_changed */

/* The number of threads that are closing a library. Nothing found meanwhile may be kept. */
extern HIDDEN uint32_t loader_closing;

/* A module's addresses: [start, end). All zero: none. */
struct module_span {
    uintptr_t start, end;
};

/* Finds the span of the module that holds `address`; false, with `*span` unchanged, if none does. */
bool loader_span_of(uintptr_t address, struct module_span *span);

/* Looked at once more if the address may be there: a span that another thread is about to set may have one of the two
 * words already. */
static inline bool module_span_holds_surely(const struct module_span *span, uintptr_t address) {
    const uintptr_t start = load_relaxed(&span->start), end = load_relaxed(&span->end);
    return start != 0 && end != 0 && address - start < end - start;
}
static inline bool module_span_holds(const struct module_span *span, uintptr_t address) {
    return unlikely(address - span->start < span->end - span->start) && module_span_holds_surely(span, address);
}

/*
 * What is at an address, which may be any number: a module's code according to its program headers, other parts of a
 * module, or no module. The module may be unloaded meanwhile, so everything is read by memory_fetch.
 */
enum guessed { GUESS_NO_MODULE, GUESS_CODE, GUESS_DATA };
enum guessed loader_guess(uintptr_t address);

/*
 * The function `name` that a call from `caller` would reach without us, if no module of the start defines one: it is in
 * the scope of a library loaded by dlopen. NULL if there is none. Takes no lock; modules may be loaded and unloaded
 * meanwhile. Cost: a millisecond for hundreds of modules.
 */
void *loader_scoped(const char *name, uintptr_t caller);

/* This library's own function of this name, wherever the loader binds the name; NULL if it has none. */
void *loader_own(const char *name);

/* A module as loader_each shows it. */
struct loader_module {
    struct loaded span;
    uintptr_t dynamic;
    uintptr_t relro_start, relro_end; /* what the loader made read-only after relocation, in whole pages; 0: nothing */
    bool is_own;                      /* this library */
    bool is_loaders;                  /* the loader itself, or libc */
    bool is_relocated;                /* false: dlopen is still loading it, or unknown (before glibc 2.35) */
};

/*
 * Calls `visit` for each module of this namespace, until it returns true. It holds the loader's lock, so no module is
 * unloaded meanwhile. False if the loader has no such walk. Only for an attached start and what follows it: hooks never
 * take that lock.
 */
bool loader_each(bool (*visit)(const struct loader_module *module, void *context), void *context);

/* Calls `visit` for each module of the start, until it returns true; returns whether it did. Takes no lock where
 * loader_find takes none. */
bool loader_each_of_start(bool (*visit)(const struct loaded *module, void *context), void *context);

/* Whether the address is in a module of the start. Complexity: linear in their number. */
bool loader_is_of_start(uintptr_t address);

/* A number that changes whenever a module is loaded or unloaded. Takes the loader's lock. */
uint64_t loader_modules_number(void);

/* Whether the module that holds `function` defines it by this name. The caller must keep the module loaded. Cost: some
 * hundred instructions. */
bool loader_defines(const void *function, const char *name);

#endif
