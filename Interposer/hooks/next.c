/*
 * Finding the functions next in line, and the bump arena that serves whoever allocates before they are
 * known: dlsym itself, in some versions of libc.
 */
#include "next.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "atomics.h"
#include "libc_versions.h"
#include "modules.h"
#include "unwind.h"

struct next next;

/* ---- The arena ----------------------------------------------------------------------------------- */

_Alignas(64) uint8_t arena[ARENA_BYTES];
static uint64_t arena_used;

/* A block's size stands in the 16 bytes before it. */
void *arena_allocate(size_t bytes, size_t alignment) {
    if (alignment < 16) alignment = 16;
    if (bytes > ARENA_BYTES || alignment > 4096) {
        errno = ENOMEM;
        return NULL;
    }
    uint64_t at, used = load_relaxed(&arena_used);
    do {
        at = ((uintptr_t)arena + used + 16 + alignment - 1) / alignment * alignment - (uintptr_t)arena;
        if (at + bytes > ARENA_BYTES) {
            errno = ENOMEM; /* no allocator would do better than its caller, who copes with NULL */
            return NULL;
        }
    } while (!cas_relaxed(&arena_used, &used, at + bytes));
    memcpy(arena + at - 16, &(uint64_t){bytes}, sizeof(uint64_t));
    return arena + at;
}

size_t arena_size(const void *pointer) {
    uint64_t bytes;
    memcpy(&bytes, (const uint8_t *)pointer - 16, sizeof bytes);
    return bytes;
}

/* ---- dlsym --------------------------------------------------------------------------------------- */

/*
 * Any look-up that succeeds throws away what an earlier one left. dlerror() would, too, but puts the message into words first, by gettext, whose
 * lock the program may hold at that moment: its first allocation of all may come out of bindtextdomain (Debian 11's apt-cache hung so).
 */
void next_forget_error(void) { dlsym(RTLD_DEFAULT, "malloc"); }

static void *find(const char *name) {
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL) next_forget_error();
    return function;
}

#define FIND(name) next.name = (__typeof__(next.name))find(#name)

void next_resolve(void) {
    int saved = errno;
    FIND(free);
    FIND(calloc);
    FIND(realloc);
    FIND(posix_memalign);
    FIND(memalign);
    FIND(aligned_alloc);
    FIND(valloc);
    FIND(pvalloc);
    FIND(free_sized);
    FIND(free_aligned_sized);
    FIND(malloc_usable_size);
    FIND(sigaction);
    FIND(dlclose);
    FIND(mlockall);
    FIND(prctl);
    FIND(syscall);
    sandbox_next_syscall = next.syscall;
    FIND(signal);
    FIND(sysv_signal);
    FIND(sigset);
    void *(*allocate)(size_t) = (__typeof__(allocate))find("malloc");
    next.is_glibc = find("__libc_malloc") != NULL && module_start_of((uintptr_t)allocate) == module_start_of((uintptr_t)next.sigaction);
    next.knows_usable_size = next.malloc_usable_size != NULL && module_start_of((uintptr_t)allocate) == module_start_of((uintptr_t)next.malloc_usable_size);
    store_release(&next.malloc, allocate); /* the last: whoever sees it set sees the others (partner: next_known) */
    errno = saved;
}

/* From the library that the caller was linked with: a C++ library that a C program loaded by dlopen is not in the
 * global scope, so RTLD_NEXT doesn't see it. */
static void *find_for(const char *name, uintptr_t caller) {
    const char *path = module_path_of(caller);
    void *library = path != NULL && path[0] != '\0' ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *function = library != NULL ? dlsym(library, name) : NULL;
    static const char *const runtimes[] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1"};
    for (size_t i = 0; function == NULL && i < sizeof runtimes / sizeof runtimes[0]; i++) {
        if (library != NULL) next.dlclose(library);
        library = dlopen(runtimes[i], RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL) function = dlsym(library, name);
    }
    if (library != NULL) next.dlclose(library); /* RTLD_NOLOAD counted a reference; the caller's own keeps it loaded */
    return function;
}

void *next_operator(const char *name, struct next_operator *found, uintptr_t caller) {
    void *function = load_acquire(&found->function); /* partner: the release below */
    if (likely(function != NULL)) return function;
    int saved = errno;
    function = dlsym(RTLD_NEXT, name);
    if (function == NULL) function = find_for(name, caller);
    next_forget_error();
    if (function != NULL && module_start_of((uintptr_t)function) == module_start_of((uintptr_t)&next)) function = NULL; /* ourselves */
    if (function != NULL) {
        found->brings_own = module_start_of((uintptr_t)function) == module_start_of((uintptr_t)next.malloc);
        if (!found->brings_own) unwind_know_runtime((uintptr_t)function);
        store_release(&found->function, function);
    }
    errno = saved;
    return function;
}
