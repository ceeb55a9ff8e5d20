/*
 * Records for threads. Nothing watches a thread's death: no destructor and no hook of ours is in its way. Instead a new
 * thread examines the owners of a few records, and takes over the record of a dead one. So the records in use are about
 * as many as the threads ever alive at once. Until it is taken over, a dead thread's ring keeps its last events.
 */
#include "process/attach.h"

#include <string.h>

#include "base/atomics.h"
#include "base/next.h"
#include "base/system.h"
#include "book/ring.h"
#include "stacks/scratch.h"
#include "stacks/unwind.h"
#include "threads/sample.h"
#include "threads/thread.h"

#define SCRATCHES (1u << 15)
static struct scratch *scratches[SCRATCHES]; /* by record: handed over with it */
static uint64_t hand;                        /* where the next search for a dead owner begins */
#define LOOKS 8

void threads_start(void) {
    /* In a fork's child the parent's scratch memory is left alone: a hook that the fork interrupted may still use it.
     */
    memset(scratches, 0, sizeof scratches);
    hand = 0;
    store_relaxed(&sample_interval, image.header->sample_interval);
    ring_start();
}

void threads_forget(void) {
    for (size_t i = 0; i < SCRATCHES; i++) {
        if (scratches[i] != NULL) system_unmap(scratches[i], sizeof(struct scratch));
        scratches[i] = NULL;
    }
}

static bool is_dead(uint32_t tid) { return system_signal_thread(system_process(), tid, 0) == -ESRCH; }

/* Takes the record over if its owner is dead, or is an earlier thread with our tid. */
static bool take_over(struct heap_thread *record, uint32_t tid) {
    uint32_t owner = load_acquire(&record->tid);
    if (owner == 0 || (owner != tid && !is_dead(owner))) return false;
    return cas_acq_rel(&record->tid, &owner, tid);
}

static int64_t find_record(uint32_t tid) {
    struct heap_section *section = &image.header->sections[HEAP_SECTION_THREADS];
    uint64_t used = load_relaxed(&section->used);
    uint64_t start = used > 0 ? add_relaxed(&hand, LOOKS) : 0;
    for (uint64_t i = 0; i < LOOKS && i < used; i++) {
        uint64_t index = (start + i) % used;
        if (take_over(&image.threads[index], tid)) return (int64_t)index;
    }
    int64_t index = image_take(HEAP_SECTION_THREADS, 1);
    if (index < 0 || !image_cover(HEAP_SECTION_EVENTS, (uint64_t)index + 1)) return -1;
    store_release(&image.threads[index].tid, tid);
    return index;
}

static struct scratch *scratch_for(uint32_t index) {
    if (index < SCRATCHES && scratches[index] != NULL) return scratches[index];
    void *memory = system_map_memory(sizeof(struct scratch));
    if (memory == NULL) return NULL;
    system_advise(memory, sizeof(struct scratch), MADV_DONTDUMP);
    if (index < SCRATCHES) scratches[index] = memory;
    return memory;
}

void thread_be_general(void) { local.plain = local.sampled = local.passing = IMAGE_NONE; }

/* If this thread has all that a common event of this image needs, its hooks take the common path. That path leaves
 * blocks' addresses on the stack, so a sanitizer's programs never take it; see hook_wipe. */
static void be_plain(uint64_t number) {
    if (next.is_sanitizers) return;
    if (local.record == NULL || local.scratch == NULL || local.ignoring != 0) return;
    if (load_relaxed(&sample_interval) == 0) {
        if (unwind_is_plain()) local.plain = number;
    } else if (unwind_is_alone() && !options.check) { /* the general case has the checks */
        local.sampled = number;
        if (sample_is_early()) local.passing = number;
    }
}

/* Lets go of what belongs to an earlier image, or to none. A handler that interrupts this does it once more. */
static void let_go(void) {
    thread_be_general();
    local.record = NULL;
    local.scratch = NULL;
    local.tag = local.tag_set; /* an earlier recording may have had it from elsewhere */
    memset(local.branches, 0, sizeof local.branches);
    local.clock.seen.tv_nsec = -1;
    sample_begin(0);
    fence_compiler();
    local.image = IMAGE_NONE;
}

/* The thread has this record from now on. What a hook asks first is stored last. */
static void take(struct heap_thread *record, uint32_t index, uint64_t number) {
    struct heap_ring *ring = &image.rings[index];
    struct scratch *scratch = scratch_for(index);
    record->scratch_bytes = scratch != NULL ? sizeof(struct scratch) : 0;
    record->scratch_start = (uint64_t)(uintptr_t)scratch;
#ifdef OWN_UNWINDER
    if (scratch != NULL) memory_forget(&scratch->memory); /* its stacks are rooted in another thread */
#endif
    ring_settle(record, ring, index);
    local.fold_at = ring_fold(record, ring);
    record->last_allocated_address = 0;
    record->stack_address = (uint64_t)(uintptr_t)__builtin_frame_address(0);
    record->started_ns = image_nanoseconds();
    local.index = index;
    local.ring = ring;
    fence_compiler();
    local.record = record;
    sample_begin(index);
    local.image = number;
    fence_compiler(); /* what stacks need is of this image */
    local.scratch = scratch;
    be_plain(number);
}

void thread_attach(uint32_t level) {
    const uint64_t number = load_acquire(&image_number);
    /* The level stays: if a handler inside a hook called fork, that hook still has to return in the child. */
    const bool nested = local.attaching != 0 && level >= local.attaching;
    if (!nested) {
        local.attaching = level + 1;
        fence_compiler();
        if (local.image == number) { /* a handler was here between the caller's look and ours */
            local.attaching = 0;
            return;
        }
    }
    if (!nested || local.image != IMAGE_NONE) let_go();
    if (nested) return;
    const int64_t index = find_record(thread_id());
    if (index != 0) ring_share(); /* record 0 is the first thread's; threads without a record share it */
    if (index >= 0) take(&image.threads[index], (uint32_t)index, number);
    /* Only now: a thread that leaves this by longjmp out of a handler attaches again (hook_enter). */
    local.image = number;
    fence_compiler();
    local.attaching = 0;
}

void thread_be_plain(void) {
    if (local.image == load_acquire(&image_number)) be_plain(local.image);
}
