/*
 * Calls that are no allocation, but would harm the recording, or the program by way of it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/maps.h"
#include "base/next.h"
#include "base/system.h"
#include "image/image.h"
#include "process/start.h"
#include "stacks/modules.h"
#include "threads/hook.h"

/* A module may go: its addresses will mean something else. */
EXPORT int dlclose(void *library) {
    if (!start_next() || next.dlclose == NULL) return 0; /* so early nothing of the program's is closed */
    /* Before and behind: the library's destructors run in between, and another thread may load one where it was. */
    add_relaxed(&loader_closing, 1);
    __atomic_add_fetch(&loader_changes, 1, __ATOMIC_SEQ_CST); /* partner: loader_generation */
    int result = next.dlclose(library);
    modules_changed();
    __atomic_fetch_sub(&loader_closing, 1, __ATOMIC_RELEASE); /* partner: the acquires of next.c */
    return result;
}

/* Locks one mapping, unless it is the image's; the first error is kept. */
static bool lock_one(const struct mapping *mapping, void *context) {
    int *error = context;
    uintptr_t start = (uintptr_t)image.base;
    if (!mapping->readable || (mapping->start < start + image.bytes && start < mapping->end)) return false;
    /* As mlockall does, what can't be read has no pages to bring in; special mappings (vsyscall) refuse, and are nobody's loss. */
    int result = system_lock(mapping->start, mapping->end - mapping->start);
    if (result < 0 && result != -ENOMEM && *error == 0) *error = -result;
    return false;
}

/* The image is mapped whole and mostly empty: to lock it would give memory to all of it. */
EXPORT int mlockall(int flags) {
    if (!start_next() || next.mlockall == NULL) return -1;
    if (image.base == NULL || !(flags & MCL_CURRENT) || flags & ~(MCL_CURRENT | MCL_FUTURE)) return next.mlockall(flags);
    if (flags & MCL_FUTURE && next.mlockall(MCL_FUTURE) != 0) return -1;
    int error = 0;
    if (!maps_each(lock_one, &error, NULL, 0)) return next.mlockall(flags | MCL_ONFAULT); /* no /proc here: what is touched is locked, and the image's empty pages are not */
    if (error == 0) return 0;
    errno = error;
    return -1;
}
