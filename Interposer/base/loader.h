/*
 * What the loader knows: which modules there are, what lies at an address, and where a function is. It is read from the
 * loader's own tables (its list of link maps, each module's DT_GNU_HASH): dlsym would take a lock that may be held by a
 * thread which waits for us, would allocate a message where it fails, and would wipe the one that the program has not
 * read yet.
 */
#ifndef HEAPSUM_LOADER_H
#define HEAPSUM_LOADER_H

#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"

/* One loaded module. */
struct loaded {
    uintptr_t start, end, bias;  /* its addresses: [start, end); and what is added to those in its file */
    const char *path;            /* as the loader has it, as long as the module lives; "": the main program */
    const uint8_t *eh_frame_hdr; /* NULL: it has none */
};

/* Looks at the process, at the first call. Before anything else in here; it works before libc and other libraries are
 * set up. */
void loader_start(void);

/* This library's path, as LD_PRELOAD named it; NULL where the loader doesn't list it. */
const char *loader_own_path(void);

/* Whether the C library is glibc. */
bool loader_has_glibc(void);

/* Whether glibc stands before this library in the order of symbols, so that the program's calls reach it and not us. */
bool loader_glibc_is_first(void);

/*
 * The function of this name that is next in line behind this library, in the order in which the loader looks at the
 * modules of the start; where there is none behind, the first before. NULL where nobody has one. For the start: modules
 * must not go meanwhile.
 */
void *loader_next(const char *name);

/* Likewise, but none before: NULL where nobody behind us has one. */
void *loader_next_behind(const char *name);

/* glibc's own function of this name, whoever has put another before it; NULL where it has none. For the start. */
void *loader_libc(const char *name);

/* The same, in an older version than the one of now. */
void *loader_old_libc(const char *name);

/*
 * The next function of this name, where it has nothing to do with libc's: a library of the program's defines it for
 * itself, and can't hand the call on to libc, as it looks up no function by name. NULL where it is libc's, an
 * allocator's, or may be a wrapper (`or_wrapper`: that is taken, too). For the start.
 */
void *loader_unrelated(const char *name, bool or_wrapper);

/* The first function of this name among the modules that stand before this library: the program and other preloads.
 * NULL where none has it. */
void *loader_before(const char *name);

/* The environment as libc has it; NULL before libc is set up. Its variable has a name that a program may define for
 * itself. */
char **loader_environment(void);

/* An entry of the auxiliary vector (getauxval); 0 where there is none. */
unsigned long loader_auxiliary(unsigned long type);

/* Whether the program was started by naming the loader: then /proc/self/exe is the loader, and the program is what it
 * was told to load. */
bool loader_is_explicit(void);

/* Whether this library came by dlopen, and not with the program: it stands behind the loader in the list. */
bool loader_is_late(void);

/* Whether the address is of the loader's own code. */
bool loader_holds(uintptr_t address);

/* The module that holds `address`; false where none does. Takes no lock where the loader has _dl_find_object
 * (glibc 2.35), else the loader's for a walk over its list. */
bool loader_find(uintptr_t address, struct loaded *found);

/* The same module's path, or NULL; or its first address, or 0. */
const char *loader_path_of(uintptr_t address);
uintptr_t loader_start_of(uintptr_t address);

/* Incremented when a module went: what was remembered by address is void. */
extern uint32_t loader_changes;
static inline uint32_t loader_generation(void) { return load_acquire(&loader_changes); } /* partner: modules_changed */

/* Threads that are closing a library: what is found meanwhile is not kept. */
extern uint32_t loader_closing;

/* A module's addresses: [start, end); none, where it is all zero. */
struct module_span {
    uintptr_t start, end;
};

/* The span of the module that holds `address`; false, and `*span` untouched, where none does. */
bool loader_span_of(uintptr_t address, struct module_span *span);

static inline bool module_span_holds(const struct module_span *span, uintptr_t address) {
    return address - span->start < span->end - span->start;
}

/*
 * What lies at an address that may be any number: the code of a module, by its program headers, or something else of
 * it. The module may be unloaded meanwhile, so nothing is read but by memory_fetch.
 */
enum guessed { GUESS_NO_MODULE, GUESS_CODE, GUESS_DATA };
enum guessed loader_guess(uintptr_t address);

/*
 * The function `name` that a call from `caller` would have reached without us, where no module of the start has one: it
 * lies in the scope of a library that came later by dlopen. NULL where there is none. Takes no lock; modules may come
 * and go meanwhile. Complexity: a millisecond for hundreds of modules.
 */
void *loader_scoped(const char *name, uintptr_t caller);

/* This library's own function of this name, wherever the loader binds the name; NULL where it has none. */
void *loader_own(const char *name);

/* A module as loader_each shows it. */
struct loader_module {
    struct loaded span;
    uintptr_t dynamic;
    uintptr_t relro_start, relro_end; /* what the loader made read-only after relocation, in whole pages; 0: nothing */
    bool is_own;                      /* this library */
    bool is_loaders;                  /* the loader itself, or libc */
    bool is_relocated;                /* false: dlopen is still at it, or that can't be told (before glibc 2.35) */
};

/*
 * Calls `visit` for each module of this namespace, until it answers true, under the loader's lock: none goes meanwhile.
 * False where the loader has no such walk. For an attached start and what follows it: hooks never take that lock.
 */
bool loader_each(bool (*visit)(const struct loader_module *module, void *context), void *context);

/* A number that changes whenever a module comes or goes. Takes the loader's lock. */
uint64_t loader_modules_number(void);

/* Whether the module that holds `function` defines it by this name. It must not go meanwhile: its caller keeps it. Some
 * hundred instructions. */
bool loader_defines(const void *function, const char *name);

#endif
