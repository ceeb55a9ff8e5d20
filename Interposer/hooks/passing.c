/*
 * Which function a name means. A conforming library may define most of the names that we interpose for its own use
 * (`double mlockall(double)`), and its calls reach us, because we precede it. So the exported function is a jump, which
 * leaves registers and stack untouched. It leads to our hook, or, if the next function of the name is unrelated to
 * libc's, to that function.
 *
 * malloc, free, calloc, realloc and C++'s operators have no such jump: a library that defines one is an allocator.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/machine.h"
#include "hooks/interposed.h"
#include "hooks/stub.h"
#include "process/start.h"

/* One name. The stub reads the first word: the address to jump to, 0 until it is known. */
struct passing {
    const void *function;
    const void *hook;
    char name[24];
};

#define ENTRY(own, name) \
    extern char hook_##own[]; \
    __attribute__((used, visibility("hidden"))) struct passing passing_##own = {NULL, hook_##own, #name};

#define EXPORTED(name) \
    ENTRY(name, name) \
    STUB(name, name);
INTERPOSED_C_LESS_COMMON(EXPORTED)
INTERPOSED_OTHER(EXPORTED)

#if !defined(HEAPSUM_STATIC) /* a static program is linked with the newest */
#define EXPORTED_OLD(own, name) \
    ENTRY(own, name) \
    STUB(own, stub_##own); \
    __asm__(".symver stub_" #own ", " #name "@" MACHINE_LIBC_VERSION ", remove\n");
INTERPOSED_OLD(EXPORTED_OLD)
#if defined(MACHINE_HAS_OLD_SPAWN)
INTERPOSED_OLD_SPAWN(EXPORTED_OLD)
__asm__(".symver posix_spawn, posix_spawn@@@GLIBC_2.15\n"
        ".symver posix_spawnp, posix_spawnp@@@GLIBC_2.15\n");
#endif
#endif
SETTLE_KEEPING;

/*
 * Functions that libc builds on another function, which it calls by name in the program's scope. If that other function
 * is not ours, the built one must not be ours either: a program with its own malloc and realloc but no reallocarray
 * calls libc's reallocarray, which calls the program's realloc.
 */
static const struct built {
    char name[24], on[8];
} built[] = {{"reallocarray", "realloc"}, {"cfree", "free"}, {"free_sized", "free"}, {"free_aligned_sized", "free"}};

/* What to call if the name is built on a function that precedes ours; else NULL. */
static const void *past_us(const char *name) {
    for (size_t i = 0; i < sizeof built / sizeof built[0]; i++) {
        if (strcmp(name, built[i].name) != 0) continue;
        const void *before = loader_before(built[i].on);
        if (before == NULL) return NULL;
        const void *libcs = loader_next_behind(name);
        /* If libc has none: the arguments are a block and numbers, and free ignores the numbers. */
        return libcs != NULL ? libcs : strcmp(built[i].on, "free") == 0 ? before : NULL;
    }
    return NULL;
}

/* execl and the like are built on others in here, where a wrapper would see its own name called. */
static bool is_listing(const char *name) { return strncmp(name, "execl", 5) == 0; }

/* Decides at a name's first call. Two threads that decide at once come to the same result. */
__attribute__((used, visibility("hidden"))) void passing_settle(struct passing *entry);
void passing_settle(struct passing *entry) {
    if (!start_next()) return; /* not relocated yet: the hook handles the call */
    int saved = errno;
    const void *function = past_us(entry->name);
    if (function == NULL) function = loader_unrelated(entry->name, is_listing(entry->name));
    store_release(&entry->function, function != NULL ? function : entry->hook);
    errno = saved;
}
