/*
 * Unloading libraries, locking memory, and limiting the address space.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/loader.h"
#include "base/maps.h"
#include "base/next.h"
#include "base/symbols.h"
#include "base/system.h"
#include "hooks/hazards.h"
#include "image/image.h"
#include "image/narrow.h"
#include "process/dormant.h"
#include "process/start.h"
#include "stacks/modules.h"
#include "threads/hook.h"

/* A module may be unloaded: its addresses may then belong to another. */
HOOK int hook_dlclose(void *library) {
    if (!start_next() || next.dlclose == NULL) return 0; /* the program closes nothing this early */
    /* Incremented before and after: the library's destructors run in between, and another thread may load a library at
     * its address. */
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
    struct image_part parts[IMAGE_PARTS_MOST];
    unsigned count = image_parts(parts);
    for (unsigned i = 0; i < count; i++)
        if (overlap(mapping, (uintptr_t)parts[i].start, (uintptr_t)parts[i].start + parts[i].bytes)) return true;
    return overlap(mapping, callers.own.start, callers.own.end);
}

static bool add_bytes(const struct mapping *mapping, void *context) {
    if (!is_ours(mapping)) *(uint64_t *)context += mapping->end - mapping->start;
    return false;
}

/* Locks one mapping. Like the kernel's mlockall, it does not report pages that could not be brought in. `context`:
 * whether to lock pages only when they are touched. */
static bool lock_one(const struct mapping *mapping, void *context) {
    if (!is_ours(mapping)) system_lock(mapping->start, mapping->end - mapping->start, *(const bool *)context);
    return false;
}

static void unlock_ours(void) {
    struct image_part parts[IMAGE_PARTS_MOST];
    unsigned count = image_parts(parts);
    for (unsigned i = 0; i < count; i++) system_unlock((uintptr_t)parts[i].start, parts[i].bytes);
    system_unlock(callers.own.start, callers.own.end - callers.own.start);
}

/* Whether the program's own memory exceeds the limit for locked memory. Does not ask whether the process is exempt from
 * the limit. */
static bool is_over_limit(void) {
    struct rlimit limit;
    uint64_t bytes = 0;
    return system_limit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY
        && maps_each(add_bytes, &bytes, NULL, 0) && bytes > limit.rlim_cur;
}

/*
 * The image is mapped whole and mostly empty; locking it would fill it with memory. So we first let the kernel mark all
 * mappings without bringing pages in, which also tells whether the process may lock memory. Then we unlock our
 * mappings. Unless the program asked for MCL_ONFAULT, we bring each of its mappings in.
 */
int hook_mlockall(int flags) {
    if (!start_next() || next.mlockall == NULL) return -1;
    if (flags & MCL_FUTURE) store_relaxed(&dormant_locks_all, 1);
    bool is_known = flags & MCL_CURRENT && !(flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
    if (image.base == NULL || !is_known) return next.mlockall(flags);
    /* a sanitizer's mlockall does nothing, because of its shadow memory */
    if ((void *)next.mlockall != loader_libc("mlockall")) return next.mlockall(flags | MCL_ONFAULT);
    int saved = errno;
    bool on_fault = flags & MCL_ONFAULT, is_marked = next.mlockall(MCL_CURRENT | MCL_ONFAULT) == 0;
    if (is_marked) unlock_ours();
    else if (errno == EPERM || (errno == ENOMEM && is_over_limit()))
        return -1; /* with the image, the program can exceed a limit that it would keep without us */
    errno = saved;
    if (flags & MCL_FUTURE && next.mlockall(MCL_FUTURE | (flags & MCL_ONFAULT)) != 0) return -1;
    if (is_marked && on_fault) return 0;
    /* without /proc, pages are locked when they are touched */
    return maps_each(lock_one, &on_fault, NULL, 0) ? 0 : next.mlockall(flags | MCL_ONFAULT);
}

/*
 * The process is about to limit its address space, of which the image takes gigabytes. The program planned for its own
 * memory only, so the image is cut down to an eighth of the limit, as at the start. We can't see a limit that another
 * process sets.
 */
static void expect_limit(unsigned resource, const struct rlimit *limit) {
    struct memory_looks looks = {0};
    if (resource != RLIMIT_AS || image.base == NULL || hook_memory_is_borrowed()) return;
    if (limit == NULL || !memory_looked_at(&looks, (uintptr_t)limit)
        || !memory_looked_at(&looks, (uintptr_t)limit + sizeof *limit - 1))
        return; /* the kernel will refuse it, or it is no limit */
    if (limit->rlim_cur != RLIM_INFINITY) image_narrow(limit->rlim_cur / 8);
}

int hook_setrlimit(unsigned resource, const struct rlimit *limit) {
    if (!start_next() || next.setrlimit == NULL) return -1;
    expect_limit(resource, limit);
    return next.setrlimit(resource, limit);
}

int hook_prlimit(pid_t process, unsigned resource, const struct rlimit *limit, struct rlimit *before) {
    if (!start_next() || next.prlimit == NULL) return -1;
    if (process == 0 || (uint32_t)process == system_process()) expect_limit(resource, limit);
    return next.prlimit(process, resource, limit, before);
}

/* The same function under another name, where a long has 64 bits. */
HOOK int hook_setrlimit64(unsigned resource, const struct rlimit *limit) { return hook_setrlimit(resource, limit); }
HOOK int hook_prlimit64(pid_t process, unsigned resource, const struct rlimit *limit, struct rlimit *before) {
    return hook_prlimit(process, resource, limit, before);
}
