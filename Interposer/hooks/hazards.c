/*
 * Libraries that go, and memory that is locked.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/loader.h"
#include "base/maps.h"
#include "base/next.h"
#include "base/system.h"
#include "hooks/hazards.h"
#include "image/image.h"
#include "process/start.h"
#include "stacks/modules.h"
#include "threads/hook.h"

/* A module may go: its addresses will mean something else. */
HOOK int hook_dlclose(void *library) {
    if (!start_next() || next.dlclose == NULL) return 0; /* so early nothing of the program's is closed */
    /* Before and behind: the library's destructors run in between, and another thread may load one where it was. */
    add_relaxed(&loader_closing, 1);
    __atomic_add_fetch(&loader_changes, 1, __ATOMIC_SEQ_CST); /* partner: loader_generation */
    int result = next.dlclose(library);
    modules_changed();
    __atomic_fetch_sub(&loader_closing, 1, __ATOMIC_RELEASE); /* partner: the acquires of next.c */
    return result;
}

static bool overlap(const struct mapping *mapping, uintptr_t start, uintptr_t end) {
    return mapping->start < end && start < mapping->end;
}

static bool is_ours(const struct mapping *mapping) {
    uintptr_t start = (uintptr_t)image.base;
    return overlap(mapping, start, start + image.bytes) || overlap(mapping, callers.own.start, callers.own.end);
}

static bool add_bytes(const struct mapping *mapping, void *context) {
    if (!is_ours(mapping)) *(uint64_t *)context += mapping->end - mapping->start;
    return false;
}

/* As the kernel's mlockall, which does not say what it could not bring in. */
static bool lock_one(const struct mapping *mapping, void *context) {
    (void)context;
    if (!is_ours(mapping)) system_lock(mapping->start, mapping->end - mapping->start);
    return false;
}

/* Whether the program alone has more memory than it may lock. What the limit is not for, has the right to lock all, is
 * not asked here. */
static bool is_over_limit(void) {
    struct rlimit limit;
    uint64_t bytes = 0;
    return system_limit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY
        && maps_each(add_bytes, &bytes, NULL, 0) && bytes > limit.rlim_cur;
}

/*
 * The image is mapped whole and mostly empty: to lock it would give memory to all of it. So the kernel marks all
 * mappings without bringing anything in, which also says whether the process may, then forgets ours, and each of the
 * program's is brought in by itself.
 */
int hook_mlockall(int flags) {
    if (!start_next() || next.mlockall == NULL) return -1;
    bool is_plain = flags & MCL_CURRENT && !(flags & ~(MCL_CURRENT | MCL_FUTURE));
    if (image.base == NULL || !is_plain) return next.mlockall(flags);
    /* a sanitizer's does nothing, for its shadow's sake */
    if ((void *)next.mlockall != loader_libc("mlockall")) return next.mlockall(flags | MCL_ONFAULT);
    int saved = errno;
    if (next.mlockall(MCL_CURRENT | MCL_ONFAULT) == 0) {
        system_unlock((uintptr_t)image.base, image.bytes);
        system_unlock(callers.own.start, callers.own.end - callers.own.start);
    } else if (errno == EPERM || (errno == ENOMEM && is_over_limit())) {
        return -1; /* as it would be without us: with the image, the program can be over a limit that it keeps alone */
    }
    errno = saved;
    if (flags & MCL_FUTURE && next.mlockall(MCL_FUTURE) != 0) return -1;
    /* no /proc here: what is touched is locked */
    return maps_each(lock_one, NULL, NULL, 0) ? 0 : next.mlockall(flags | MCL_ONFAULT);
}
