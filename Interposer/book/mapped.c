/*
 * free raises M_MMAP_THRESHOLD to the size of a chunk with a mapping of its own if that is larger, and not above 32 MB
 * (malloc.c, __libc_free). From then on blocks up to that size come from the heap. So the largest such chunk that any
 * thread has freed is what the threshold is now, and its stack is the answer to who raised it. A chunk that is as large
 * as an earlier one raises nothing: each thread keeps the first of its largest.
 */
#include "book/mapped.h"

#include "base/atomics.h"
#include "image/image.h"
#include "threads/thread.h"

void mapped_note(struct place place, const void *block) {
    uint64_t slot = place.slot != NULL ? load_relaxed(place.slot) : 0;
    size_t bytes = glibc_chunk_size(block);
    struct heap_thread *record = local.record;
    if (record == NULL || bytes <= HEAP_MAPPED_LEAST || bytes > HEAP_MAPPED_MOST || !live_holds(place, slot)) return;
    uint64_t units = bytes / HEAP_MAPPED_UNIT;
    if (units <= heap_mapped_units(load_relaxed(&record->mapped_word))) return;
    store_relaxed(&record->mapped_times, heap_mapped_times(thread_clock()->tick, heap_slot_tick(slot), units));
    /* partner: a reader, who compares the two words' sizes */
    store_release(&record->mapped_word, heap_mapped_word(heap_slot_stack(slot), units));
}
