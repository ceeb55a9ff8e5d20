/*
 * Whose function a name means. A strictly conforming C library may define most of the names that we interpose for something of its own
 * (`double mlockall(double)`), and its calls come here, as we stand before it. So what is exported is a jump: to our hook, or, where the
 * next function of the name has nothing to do with libc's, to that, with registers and stack untouched.
 *
 * malloc, free, calloc, realloc and C++'s operators are without it: a library that has one of those is an allocator.
 */
#include <errno.h>
#include <stddef.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "hooks/interposed.h"
#include "process/start.h"

#if defined(__x86_64__)
#include "hooks/x86_64/stub.h"
#elif defined(__aarch64__)
#include "hooks/aarch64/stub.h"
#endif

/* One name. The stub reads the first word: where to jump, 0 until that is known. */
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

#if defined(__x86_64__)
#define VERSION(x86_64, aarch64) x86_64
#else
#define VERSION(x86_64, aarch64) aarch64
#endif
#define EXPORTED_OLD(own, name, x86_64, aarch64) \
    ENTRY(own, name) \
    STUB(own, stub_##own); \
    __asm__(".symver stub_" #own ", " #name "@" VERSION(x86_64, aarch64) ", remove\n");
INTERPOSED_OLD(EXPORTED_OLD)
#if defined(__x86_64__)
INTERPOSED_OLD_X86_64(EXPORTED_OLD)
__asm__(".symver posix_spawn, posix_spawn@@@GLIBC_2.15\n"
        ".symver posix_spawnp, posix_spawnp@@@GLIBC_2.15\n");
#endif
SETTLE_KEEPING;

/* At a name's first call. Two threads that come at once settle on the same. */
__attribute__((used, visibility("hidden"))) void passing_settle(struct passing *entry);
void passing_settle(struct passing *entry) {
    if (!start_next()) return; /* not relocated yet: the hook says what there is to say */
    int saved = errno;
    const void *unrelated = loader_unrelated(entry->name);
    store_release(&entry->function, unrelated != NULL ? unrelated : entry->hook);
    errno = saved;
}
