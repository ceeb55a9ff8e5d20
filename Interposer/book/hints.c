/*
 * Hints are noted in memory of our own, without a lock: a hook may note one (threads that ignore what they allocate).
 *
 * Ignored blocks are in a table by address, of which only the pages that are used take memory. Nobody tells when such
 * a block is freed, so an entry names its block by the slot's word: it means nothing once the slot has another. Entries
 * of blocks that are gone make room for new ones, and a thread that allocates and frees on uses few of them.
 */
#include "book/hints.h"

#include "base/atomics.h"
#include "base/system.h"
#include "book/live.h"
#include "image/image.h"
#include "include/hints.h"

extern struct heap_hints heapsum_hints;
__attribute__((visibility("default"))) struct heap_hints heapsum_hints = {.version = HEAP_HINTS_VERSION};
/* Our own name for it: the exported one could be another module's. */
extern struct heap_hints hints __attribute__((alias("heapsum_hints"), visibility("hidden")));

#define TABLE_BYTES (HEAP_HINT_BLOCKS * sizeof(struct heap_hint_block))
#define PROBES 64

static void lose(void) { add_relaxed(&hints.lost, 1); }

void hints_start(void) {
    void *table = (void *)load_acquire(&hints.blocks);
    if (table != NULL) system_advise(table, TABLE_BYTES, MADV_DONTNEED);
}

/* ---- Blocks --------------------------------------------------------------------------------------------- */

static struct heap_hint_block *table_of_blocks(void) {
    uint64_t table = load_acquire(&hints.blocks); /* partner: the swap below */
    if (table != 0) return (struct heap_hint_block *)table;
    void *fresh =
        system_map(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (fresh == NULL) return NULL;
    if (cas_acq_rel(&hints.blocks, &table, (uint64_t)(uintptr_t)fresh)) return fresh;
    system_unmap(fresh, TABLE_BYTES);
    return (struct heap_hint_block *)table;
}

static bool is_live(uint64_t address, uint64_t word) {
    struct place place = live_search(address);
    return place.slot != NULL && load_relaxed(place.slot) == word;
}

/* Gives an entry that has `seen` for its address to a block. */
static bool take(struct heap_hint_block *entry, uint64_t seen, uint64_t address, uint64_t word) {
    if (seen != address && !cas_acq_rel(&entry->address, &seen, address)) return false;
    store_release(&entry->word, word); /* partner: a reader, who finds the process standing still */
    return true;
}

static bool note(uint64_t address, uint64_t word) {
    struct heap_hint_block *table = table_of_blocks();
    if (table == NULL) return false;
    const uint64_t first = address >> 4;
    for (uint64_t i = 0; i < PROBES; i++) {
        struct heap_hint_block *entry = &table[(first + i) % HEAP_HINT_BLOCKS];
        uint64_t seen = load_acquire(&entry->address);
        if ((seen == 0 || seen == address) && take(entry, seen, address, word)) return true;
    }
    for (uint64_t i = 0; i < PROBES; i++) {
        struct heap_hint_block *entry = &table[(first + i) % HEAP_HINT_BLOCKS];
        uint64_t seen = load_acquire(&entry->address);
        if (!is_live(seen, load_acquire(&entry->word)) && take(entry, seen, address, word)) return true;
    }
    return false;
}

/* The most granules of a map that a block in it has: larger blocks are in the next map. */
static uint64_t most_granules(uint32_t map) {
    return map + 1 < HEAP_MAP_COUNT ? 1ull << (live_shapes[map + 1].granule_log2 - live_shapes[map].granule_log2)
                                    : 1ull << 16;
}

/* The start of the block that holds the address, and its word; 0: there is none. */
static uint64_t block_around(uintptr_t address, uint64_t *word) {
    for (uint32_t map = 0; map < HEAP_MAP_COUNT; map++) {
        const uint32_t granule = live_shapes[map].granule_log2;
        uint64_t at = address >> granule << granule;
        for (uint64_t left = most_granules(map) + 1; left > 0; left--, at -= 1ull << granule) {
            struct place place = live_look_up(at, map, live_shapes[map]);
            uint64_t found = place.slot != NULL ? load_acquire(place.slot) : 0; /* partner: book.c's releases */
            if (found != 0 && found != HEAP_SLOT_OURS && !heap_slot_is_reserved(found)) {
                uint32_t low = heap_slot_low(found);
                uint64_t start = at + (map == HEAP_MAP_FINE ? low & ((1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1) : low);
                if (start <= address) {
                    if (address != start && address - start >= live_bytes(place, found)) break;
                    *word = found;
                    return start;
                }
            }
            if (at < 1ull << granule) break;
        }
    }
    return 0;
}

bool hints_ignore(uintptr_t address) {
    uint64_t word, start = block_around(address, &word);
    if (start == 0) return false;
    bool noted = note(start, word);
    if (!noted) lose();
    return noted;
}

/* ---- Roots ---------------------------------------------------------------------------------------------- */

bool hints_add_root(uintptr_t start, size_t bytes) {
    if (start == 0 || bytes == 0 || start + bytes < start) return false;
    for (uint32_t i = 0; i < HEAP_HINT_ROOTS; i++) {
        uint64_t none = 0;
        if (!cas_acq_rel(&hints.roots[i].start, &none, start)) continue;
        store_release(&hints.roots[i].end, start + bytes); /* partner: as above */
        return true;
    }
    lose();
    return false;
}

bool hints_remove_root(uintptr_t start, size_t bytes) {
    for (uint32_t i = 0; i < HEAP_HINT_ROOTS; i++) {
        uint64_t end = start + bytes;
        if (load_relaxed(&hints.roots[i].start) != start || !cas_acq_rel(&hints.roots[i].end, &end, 0)) continue;
        store_release(&hints.roots[i].start, 0); /* partner: the swap in hints_add_root */
        return true;
    }
    return false;
}
