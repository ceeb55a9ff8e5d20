/*
 * Libraries that go, memory that is locked, and address space that is limited.
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

/* As the kernel's mlockall, which does not say what it could not bring in. `context`: whether only what is touched is
 * to be brought in. */
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
 * program's is brought in by itself, where the program did not ask for MCL_ONFAULT.
 */
int hook_mlockall(int flags) {
    if (!start_next() || next.mlockall == NULL) return -1;
    bool is_known = flags & MCL_CURRENT && !(flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT));
    if (image.base == NULL || !is_known) return next.mlockall(flags);
    /* a sanitizer's does nothing, for its shadow's sake */
    if ((void *)next.mlockall != loader_libc("mlockall")) return next.mlockall(flags | MCL_ONFAULT);
    int saved = errno;
    bool on_fault = flags & MCL_ONFAULT, is_marked = next.mlockall(MCL_CURRENT | MCL_ONFAULT) == 0;
    if (is_marked) unlock_ours();
    else if (errno == EPERM || (errno == ENOMEM && is_over_limit()))
        return -1; /* as it would be without us: with the image, the program can be over a limit that it keeps alone */
    errno = saved;
    if (flags & MCL_FUTURE && next.mlockall(MCL_FUTURE | (flags & MCL_ONFAULT)) != 0) return -1;
    if (is_marked && on_fault) return 0;
    /* no /proc here: what is touched is locked */
    return maps_each(lock_one, &on_fault, NULL, 0) ? 0 : next.mlockall(flags | MCL_ONFAULT);
}

/*
 * A process is about to limit its address space, of which the image has gigabytes. It planned with what it has itself,
 * so an eighth of the limit is left to the image, as at the start. A limit that another process sets comes unseen.
 */
static void expect_limit(unsigned resource, const struct rlimit *limit) {
    struct memory_looks looks = {0};
    if (resource != RLIMIT_AS || image.base == NULL || hook_memory_is_borrowed()) return;
    if (limit == NULL || !memory_looked_at(&looks, (uintptr_t)limit)
        || !memory_looked_at(&looks, (uintptr_t)limit + sizeof *limit - 1))
        return; /* the kernel refuses it, or it is no limit */
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
