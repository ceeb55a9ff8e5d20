/*
 * Booking mappings: who made one, of which kind it is, and which pages it has.
 */
#include "hooks/mapping_booking.h"

#include <errno.h>
#include <linux/shm.h>
#include <string.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/system.h"
#include "book/pauses.h"
#include "book/ranges.h"
#include "hooks/enter.h"
#include "hooks/requests.h"
#include "process/start.h"
#include "stacks/tree.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define HUGE_BYTES (2u << 20) /* of a huge page where the call doesn't say */

static bool is_booked(void) { return likely(local.ready) && hook_is_live() && ranges_are_booked(); }

static void count_call(void) {
    if (is_booked()) ranges_called();
}

static uint64_t number(void) { return is_booked() ? ranges_number() : 0; }

static void begin(uintptr_t address_in_module) {
    callers_know(&callers.mappings, address_in_module);
    ranges_begin();
}

/* ---- Whose ---------------------------------------------------------------------------------------------- */

/* Whether malloc lies in the program itself, whose other code may map, too. */
static bool program_is_allocator(void) {
    static uint32_t known; /* 1: no, 2: yes */
    uint32_t answer = load_relaxed(&known);
    if (answer == 0) {
        const char *path = loader_path_of(callers.allocator.start);
        answer = path != NULL && path[0] == '\0' ? 2 : 1;
        store_relaxed(&known, answer);
    }
    return answer == 2;
}

struct owner {
    uint32_t stack;
    uint32_t what; /* 0, or HEAP_MAPPING_ALLOCATOR */
};

/*
 * Whose the call is; false: nobody's that is booked. What the allocator maps, for its blocks or for itself, has no
 * stack: whoever allocated the first block there is not who keeps the mapping.
 */
static bool find_owner(const struct mapping_call *call, struct owner *owner) {
    if (unlikely(!local.ready)) return false;
    *owner = (struct owner){TREE_EMPTY_STACK, 0};
    bool in_hook = local.level != 0;
    if (module_span_holds(&callers.allocator, call->caller) && (in_hook || !program_is_allocator())) {
        owner->what = HEAP_MAPPING_ALLOCATOR;
        return is_booked();
    }
    struct hook hook;
    if (start_is_early() || !hook_enter(&hook, call->frame, call->caller)) {
        owner->what = HEAP_MAPPING_ALLOCATOR; /* a library that the allocator calls in an allocation */
        return in_hook && is_booked();
    }
    bool books = ranges_are_booked() && !hook.ours;
    if (books && !pauses_are_on()) hook_stack(&hook);
    owner->stack = hook.stack;
    hook_leave(&hook);
    return books;
}

/* ---- Kinds ---------------------------------------------------------------------------------------------- */

static bool begins_with(const char *text, const char *beginning) {
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* The kind of a mapped file, from where the kernel says that it is. */
static uint32_t kind_of_file(int fd, int flags) {
    const uint32_t otherwise = flags & MAP_SHARED ? HEAP_MAPPING_SHARED_FILE : HEAP_MAPPING_FILE;
    char path[40] = "/proc/thread-self/fd/", digits[12], target[16] = "";
    if (fd < 0 || !system_may_look()) return otherwise;
    size_t at = strlen(path), count = 0;
    do digits[count++] = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (count > 0) path[at++] = digits[--count];
    path[at] = '\0';
    system_read_link(path, target, sizeof target - 1);
    if (begins_with(target, "/memfd:")) return HEAP_MAPPING_MEMFD;
    if (begins_with(target, "/dev/shm/")) return HEAP_MAPPING_SHARED_MEMORY;
    return begins_with(target, "/dev/") ? HEAP_MAPPING_DEVICE : otherwise;
}

static uint32_t what_is_mapped(int protection, int flags, int fd) {
    uint32_t kind;
    if (!(flags & MAP_ANONYMOUS)) kind = kind_of_file(fd, flags);
    else if (flags & (MAP_STACK | MAP_GROWSDOWN)) kind = HEAP_MAPPING_STACK;
    else kind = flags & MAP_SHARED ? HEAP_MAPPING_SHARED_ANONYMOUS : HEAP_MAPPING_ANONYMOUS;
    if (protection == PROT_NONE) kind |= HEAP_MAPPING_FLAG_RESERVED;
    return flags & MAP_HUGETLB ? kind | HEAP_MAPPING_FLAG_HUGE : kind;
}

/* Bytes that the kernel maps: whole pages, of the size that the call asked for. */
static size_t mapped_bytes(size_t bytes, int flags) {
    if (!(flags & MAP_HUGETLB)) return bytes;
    uint32_t log2 = (uint32_t)flags >> 26 & 63; /* MAP_HUGE_SHIFT */
    size_t unit = log2 >= 12 && log2 < 48 ? (size_t)1 << log2 : HUGE_BYTES;
    return (bytes + unit - 1) & ~(unit - 1);
}

static void set(const struct owner *owner, uint32_t what, uintptr_t start, size_t bytes) {
    if (owner->what != 0) what = (what & ~HEAP_MAPPING_KIND_MASK) | owner->what;
    if (pauses_are_on()) ranges_clear(ranges_number(), start, bytes);
    else ranges_set(ranges_number(), start, bytes, owner->stack, what);
}

/* ---- The calls ------------------------------------------------------------------------------------------ */

/* A call that was to replace mappings failed. The kernel may have unmapped them before it found out. */
static void look_after_failure(uint64_t before, uintptr_t start, size_t bytes) {
    unsigned char resident;
    if (before == 0 || bytes == 0 || start % HEAP_PAGE_BYTES != 0) return;
    if (ranges_at(start).word == 0 || system_resident(start, HEAP_PAGE_BYTES, &resident) != -ENOMEM) return;
    ranges_called();
    ranges_clear(before, start, bytes);
}

static void mapped(const struct mapping_call *call, uint64_t before, void *result, const void *at, size_t bytes,
    int protection, int flags, int fd) {
    struct owner owner;
    if (result == MAP_FAILED) {
        if (flags & MAP_FIXED) look_after_failure(before, (uintptr_t)at, mapped_bytes(bytes, flags));
        return;
    }
    count_call();
    bytes = mapped_bytes(bytes, flags);
    if (find_owner(call, &owner)) set(&owner, what_is_mapped(protection, flags, fd), (uintptr_t)result, bytes);
    else if (before != 0) ranges_clear(before, (uintptr_t)result, bytes); /* what was there before is gone */
}

static void unmapped(uint64_t before, const void *at, size_t bytes) {
    if (before == 0) return;
    count_call();
    ranges_clear(before, (uintptr_t)at, bytes);
}

static uintptr_t page_up(uintptr_t address) {
    const uintptr_t page = loader_page_bytes();
    return (address + page - 1) & ~(page - 1);
}

/* As with a realloc, a mapping that grows or moves is its mover's from then on; one that shrinks stays whose it was. */
static void moved(const struct mapping_call *call, uint64_t before, const void *from, size_t old_bytes, void *to,
    size_t bytes, int flags) {
    const uintptr_t old = (uintptr_t)from, now = (uintptr_t)to;
    struct owner owner;
    if (!is_booked()) return;
    if (to == MAP_FAILED) return;
    ranges_called();
    struct heap_range known = ranges_at(old);
    old_bytes = page_up(old_bytes);
    bytes = page_up(bytes);
    if (old == now && bytes <= old_bytes) {
        if (before != 0) ranges_clear(before, old + bytes, old_bytes - bytes);
        return;
    }
    /* Pages that nobody saw being mapped are what the program mapped before the recording, or another's. */
    uint32_t what = (uint32_t)known.more & (HEAP_MAPPING_KIND_MASK | HEAP_MAPPING_FLAG_RESERVED);
    if (known.word == 0) what = HEAP_MAPPING_ANONYMOUS;
    if (old != now && !(flags & MREMAP_DONTUNMAP) && before != 0) ranges_clear(before, old, old_bytes);
    if (find_owner(call, &owner)) set(&owner, what, now, bytes);
    else if (before != 0) ranges_clear(before, now, bytes);
}

static void broke(const struct mapping_call *call, uint64_t before, uintptr_t was, uintptr_t is) {
    struct owner owner;
    const uintptr_t first = page_up(was), last = page_up(is);
    if (last != first) count_call();
    if (last < first && before != 0) ranges_clear(before, last, first - last);
    if (last > first && find_owner(call, &owner)) set(&owner, HEAP_MAPPING_BREAK, first, last - first);
}

static void attached(const struct mapping_call *call, void *at, int segment) {
    struct owner owner;
    struct shmid64_ds status;
    count_call();
    if (!system_may_look() || SYSTEM_CALL3(SYS_shmctl, segment, 2 /* IPC_STAT */, &status) < 0) {
        if (is_booked()) ranges_lost(HEAP_PAGE_BYTES); /* at least a page */
        return;
    }
    if (find_owner(call, &owner)) set(&owner, HEAP_MAPPING_SHARED_MEMORY, (uintptr_t)at, page_up(status.shm_segsz));
}

/* The kernel unmaps what is left of the segment that was attached there. */
static void detached(const void *at) {
    if (!is_booked()) return;
    ranges_called();
    struct heap_range known = ranges_at((uintptr_t)at);
    if ((known.more & HEAP_MAPPING_KIND_MASK) == HEAP_MAPPING_SHARED_MEMORY && known.word != 0)
        ranges_clear_one(
            heap_range_birth(known.word), (uintptr_t)at, (known.more >> HEAP_RANGE_PAGES_SHIFT) * HEAP_PAGE_BYTES);
}

static void advised(const struct mapping_call *call, const void *at, size_t bytes, int advice) {
    (void)at;
    if (advice != MADV_DONTNEED && advice != MADV_FREE && advice != MADV_REMOVE) return;
    if (is_booked() && !module_span_holds(&callers.allocator, call->caller)) ranges_discarded(page_up(bytes));
}

const struct heapsum_mapping_booking mapping_booking = {
    .begin = begin,
    .number = number,
    .mapped = mapped,
    .unmapped = unmapped,
    .moved = moved,
    .broke = broke,
    .attached = attached,
    .detached = detached,
    .advised = advised,
    .opened = requests_opened,
};
