/*
 * The image's space. A page of the file is touched only after MADV_POPULATE_WRITE gave it memory. So a full disk is an
 * error that can be counted, not a SIGBUS in the program. Nothing here waits for another thread: two threads that
 * reserve the same page both succeed.
 */
#include "image/image.h"

#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/options.h"
#include "base/system.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct image image;

/* After a full disk: no new attempt before this time, so that not every event costs a failing call. */
static uint64_t retry_milliseconds;
/* Bytes of the image and its dumps so far, for --max-size. */
static uint64_t used_bytes;
uint64_t image_page_bits[(INDEX_PAGES + (64u << 20) / HEAP_PAGE_BYTES) / 64];

#define RESERVE_LEAST (4 * HEAP_PAGE_BYTES)
#define RESERVE_MOST (256u << 10) /* one madvise of this size takes about 40 µs on tmpfs (measured) */
#define RETRY_MILLISECONDS 100

static uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

/* Entries of a map's top table: the addresses, less what a branch piece covers. */
uint64_t image_top_entries(uint32_t map, const uint8_t *granule_log2) {
    uint32_t branch_log2 = heap_map_branch_log2(map, granule_log2[map]);
    return branch_log2 >= HEAP_ADDRESS_BITS ? 1 : 1ull << (HEAP_ADDRESS_BITS - branch_log2);
}

/* Gives memory to the pages of [start, start + bytes). 0, or an errno. */
int image_populate(uint8_t *start, uint64_t bytes) {
    int error = 0;
    for (int tries = 0; tries < 8; tries++) {
        error = -system_advise(start, bytes, MADV_POPULATE_WRITE);
        if (error == 0) return 0;
        if (error != EAGAIN && error != EINTR) break;
    }
    if (error != EINVAL) return error;
    /*
     * An older kernel. If our own store or load would raise SIGBUS, the kernel's returns an error instead. This call
     * atomically adds 0 to a word, so it does no harm if another thread already uses the page.
     */
    for (uint64_t at = 0; at < bytes; at += HEAP_PAGE_BYTES) {
        error = -system_touch(start + at);
        if (error > 0) return error;
    }
    return 0;
}

bool image_account(int64_t bytes) {
    struct heap_header *header = image.header;
    if (bytes > 0 && header->maximum_bytes != 0
        && load_relaxed(&used_bytes) + (uint64_t)bytes > header->maximum_bytes) {
        or_relaxed(&header->flags, HEAP_FLAG_FULL);
        return false;
    }
    add_relaxed(&used_bytes, (uint64_t)bytes);
    return true;
}

/* Reserves, unless a limit or a recent failure forbids it. Counts failures. */
static bool reserve(uint8_t *start, uint64_t bytes) {
    uint64_t now = image_nanoseconds() / 1000000;
    if (unlikely(now < load_relaxed(&retry_milliseconds)) || !image_account((int64_t)bytes)) return false;
    if (image_populate(start, bytes) != 0) {
        image_account(-(int64_t)bytes);
        store_relaxed(&retry_milliseconds, now + RETRY_MILLISECONDS);
        LOSE(failed_reservations, 1);
        return false;
    }
    return true;
}

/* Makes sure that the first `bytes` of a bump section have memory. */
static bool section_reserve(struct heap_section *section, uint64_t bytes) {
    uint64_t ready = load_acquire(&section->ready_bytes); /* partner: the release below */
    if (likely(bytes <= ready)) return true;
    uint64_t limit = round_up(load_relaxed(&section->capacity), HEAP_PAGE_BYTES);
    uint64_t ahead = ready / 4;
    if (ahead < RESERVE_LEAST) ahead = RESERVE_LEAST;
    if (ahead > RESERVE_MOST) ahead = RESERVE_MOST;
    uint64_t until = round_up(bytes > ready + ahead ? bytes : ready + ahead, HEAP_PAGE_BYTES);
    if (until > limit) until = limit;
    uint8_t *base = image.base + section->offset;
    if (!reserve(base + ready, until - ready)) return false;
    while (ready < until && !cas_acq_rel(&section->ready_bytes, &ready, until)) {}
    return true;
}

int64_t image_take(enum heap_section_name name, uint64_t count) {
    struct heap_section *section = &image.header->sections[name];
    uint64_t most = load_relaxed(&section->capacity) / section->entry_bytes;
    uint64_t used = load_relaxed(&section->used);
    do {
        if (used + count > most || !section_reserve(section, (used + count) * section->entry_bytes)) return -1;
    } while (!cas_relaxed(&section->used, &used, used + count));
    return (int64_t)used;
}

bool image_cover(enum heap_section_name name, uint64_t entries) {
    struct heap_section *section = &image.header->sections[name];
    if (entries * section->entry_bytes > load_relaxed(&section->capacity)
        || !section_reserve(section, entries * section->entry_bytes))
        return false;
    uint64_t used = load_relaxed(&section->used);
    while (used < entries && !cas_relaxed(&section->used, &used, entries)) {}
    return true;
}

bool image_reserve_page(uint64_t bit) {
    bool index = bit < INDEX_PAGES;
    uint64_t offset = image.header->sections[index ? HEAP_SECTION_INDEX : HEAP_SECTION_TOPS].offset;
    if (!reserve(image.base + offset + (index ? bit : bit - INDEX_PAGES) * HEAP_PAGE_BYTES, HEAP_PAGE_BYTES))
        return false;
    /* partner: image_has_index, image_has_top */
    __atomic_fetch_or(&image_page_bits[bit / 64], 1ull << bit % 64, __ATOMIC_RELEASE);
    return true;
}

void image_release_index(uint64_t first, uint64_t count) {
    uint64_t from = image_index_bit(first), to = image_index_bit(first + count);
    for (uint64_t bit = from; bit < to; bit++)
        __atomic_fetch_and(&image_page_bits[bit / 64], ~(1ull << bit % 64), __ATOMIC_RELEASE);
    /* whole pages of the kernel's alone: the next table may begin in this one's last */
    const uint64_t offset = image.header->sections[HEAP_SECTION_INDEX].offset, page = loader_page_bytes();
    const uint64_t start = round_up(offset + from * HEAP_PAGE_BYTES, page),
                   end = (offset + to * HEAP_PAGE_BYTES) / page * page;
    if (start < end && system_advise(image.base + start, end - start, MADV_REMOVE) == 0)
        image_account(-(int64_t)(end - start));
}

struct heap_string image_string(const char *bytes, size_t length) {
    int64_t at = length == 0 ? -1 : image_take(HEAP_SECTION_STRINGS, length);
    if (at < 0) return (struct heap_string){0, 0};
    memcpy(image.strings + at, bytes, length);
    return (struct heap_string){(uint32_t)at, (uint32_t)length};
}

void image_broken(uint32_t *said, const char *invariant) {
    or_relaxed(&image.header->flags, HEAP_FLAG_BROKEN);
    if (swap_relaxed(said, 1) == 0) message("the recorder is wrong about itself; this does not hold: ", invariant);
}

void image_space_start(void) {
    memset(image_page_bits, 0, sizeof image_page_bits);
    used_bytes = 0;
    retry_milliseconds = 0;
}
