/*
 * Which function a name means: as in hooks/passing.c, a conforming library may define these names for its own use
 * (`double brk(double)`). So each exported function is a jump, to the hook or past it.
 */
#include "mappings/passing.h"

#include <errno.h>
#include <stdbool.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "hooks/stub.h"

struct next_functions next_functions;

/* An address that the loader relocates: NULL before it has. */
static const void *volatile const relocated = &next_functions;

const struct next_functions *passing_next_functions(void) {
    static uint32_t is_known;
    if (likely(load_acquire(&is_known)) || relocated == NULL) return &next_functions; /* partner: the release below */
    int saved = errno;
    loader_start();
    /* Two threads that look at once find the same. */
#define FIND(result, name, parameters) store_relaxed((void **)&next_functions.name, (void *)loader_next(#name));
    MAPPING_FUNCTIONS(FIND)
#undef FIND
    store_release(&is_known, 1);
    errno = saved;
    return &next_functions;
}

/* One name. The stub reads the first word: the address to jump to, 0 until it is known. */
struct passing {
    const void *function;
    const void *hook;
    char name[16];
};

#define EXPORTED(result, name, parameters) \
    extern char hook_##name[]; \
    __attribute__((used, visibility("hidden"))) struct passing passing_##name = {NULL, hook_##name, #name}; \
    STUB(name, name);
MAPPING_FUNCTIONS(EXPORTED)
SETTLE_KEEPING;

/* Decides at a name's first call. */
__attribute__((used, visibility("hidden"))) void passing_settle(struct passing *entry);
void passing_settle(struct passing *entry) {
    if (relocated == NULL) return; /* the hook makes the system call */
    passing_next_functions();
    int saved = errno;
    const void *function = loader_unrelated(entry->name, false);
    store_release(&entry->function, function != NULL ? function : entry->hook);
    errno = saved;
}
