/*
 * Narrowing. The image is mapped once, with gigabytes of room in which its sections grow. Nearly all of it has no
 * memory, but each byte counts against RLIMIT_AS. First a section's capacity is lowered, so that nothing new is put
 * beyond it; then the rest is unmapped. A thread that has read the old capacity takes at most MARGIN beyond what the
 * section used, and that much stays mapped.
 */
#include "image/narrow.h"

#include "base/atomics.h"
#include "base/loader.h"
#include "base/system.h"
#include "image/image.h"

#define MARGIN (1u << 20) /* more than one reservation (RESERVE_MOST) and one image_take need */

static uint64_t pages_up(uint64_t bytes) { return (bytes + HEAP_PAGE_BYTES - 1) / HEAP_PAGE_BYTES * HEAP_PAGE_BYTES; }

/* Bytes of INDEX that must stay: the tables with memory, and the next one. */
static uint64_t index_kept(void) {
    uint32_t tables = 1;
    for (uint64_t word = 0; word < INDEX_PAGES / 64; word++)
        if (load_relaxed(&image_page_bits[word]) != 0)
            while (TREE_INDEX_BYTES_OF(tables) < (word + 1) * 64 * HEAP_PAGE_BYTES) tables++;
    return TREE_INDEX_BYTES_OF(tables + 1);
}

/* Bytes of a section that must stay. */
static uint64_t kept(enum heap_section_name name) {
    const struct heap_section *section = &image.header->sections[name];
    uint64_t capacity = load_relaxed(&section->capacity), bytes;
    if (name == HEAP_SECTION_TOPS || name == HEAP_SECTION_TIMELINE) return capacity; /* used sparsely; small */
    if (name == HEAP_SECTION_INDEX) bytes = index_kept();
    else bytes = load_relaxed(&section->ready_bytes) + MARGIN;
    return bytes < capacity ? bytes : capacity;
}

/* Lowers a section's capacity and unmaps the difference. If two threads do so at once, each unmaps its own part. */
static void cut(struct heap_section *section, uint64_t bytes) {
    uint64_t before = load_relaxed(&section->capacity);
    bytes = bytes / section->entry_bytes * section->entry_bytes;
    do {
        if (bytes >= before) return;
    } while (!cas_relaxed(&section->capacity, &before, bytes));
    /* The next section may begin in the kernel's page of this one's end. */
    const uint64_t page = loader_page_bytes(), next = pages_up(section->offset + before);
    uint64_t from = (section->offset + bytes + page - 1) / page * page, until = next / page * page;
    if (from < until) system_unmap(image.base + from, until - from);
}

void image_narrow(uint64_t most) {
    struct heap_section *sections = image.header->sections;
    uint64_t least = HEAP_PAGE_BYTES, room = 0;
    for (int name = 0; name < HEAP_SECTION_COUNT; name++) {
        least += kept(name);
        room += load_relaxed(&sections[name].capacity) - kept(name);
    }
    if (least + room <= most) return;
    store_relaxed(&image.narrowed, 1);
    /* Each section gives up the same share of its room, so that sections with the same numbering still match. */
    uint64_t parts = most > least ? room / (most - least) + 1 : 0;
    for (int name = 0; name < HEAP_SECTION_COUNT; name++) {
        uint64_t keep = kept(name), more = load_relaxed(&sections[name].capacity) - keep;
        cut(&sections[name], keep + (parts > 0 ? more / parts : 0));
    }
}

unsigned image_parts(struct image_part parts[IMAGE_PARTS_MOST]) {
    parts[0] = (struct image_part){image.base, image.bytes};
    if (!load_relaxed(&image.narrowed)) return 1;
    parts[0].bytes = HEAP_PAGE_BYTES;
    for (int name = 0; name < HEAP_SECTION_COUNT; name++) {
        const struct heap_section *section = &image.header->sections[name];
        parts[name + 1] = (struct image_part){image.base + section->offset, pages_up(load_relaxed(&section->capacity))};
    }
    return IMAGE_PARTS_MOST;
}
