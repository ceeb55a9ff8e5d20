/*
 * Marks, pauses, and dumps that nobody sends a signal for: what the program asks for itself, or was asked for at its start.
 *
 * A mark is written into the header's page, its number last. A pause sets a bit in the word that each hook looks at anyway,
 * so the common way costs nothing more; the other way books frees, and passes allocations over.
 */
#include "process/marks.h"

#include <errno.h>
#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "base/system.h"
#include "book/pauses.h"
#include "image/image.h"
#include "process/dump.h"
#include "process/start.h"
#include "threads/hook.h"
#include "threads/thread.h"


static uint64_t last_dump_bytes;   /* live when the last dump was written */
static uint64_t last_failure_seconds; /* of the last dump for a failure: 0 none */
#define FAILURE_SECONDS 60

/* Whether this process books into the image: a vfork'd child shares the memory, and the image is its parent's. */
static bool is_recorded(void) { return start_recording() && load_acquire(&hook_live.word) != 0 && image.header->pid == system_process(); }

/* ---- Marks ------------------------------------------------------------------------------------------ */

extern void heapsum_mark(const char *name);
EXPORT void heapsum_mark(const char *name) {
    if (name == NULL || !is_recorded()) return;
    struct heap_mark *marks = (struct heap_mark *)(image.base + HEAP_MARKS_OFFSET);
    uint32_t number = __atomic_add_fetch(&image.header->marks, 1, __ATOMIC_RELAXED);
    struct heap_mark *mark = &marks[(number - 1) % HEAP_MARK_COUNT];
    store_release(&mark->number, 0); /* partner: a reader's acquire */
    memset(mark->name, 0, sizeof mark->name);
    memcpy(mark->name, name, strnlen(name, sizeof mark->name - 1));
    mark->time_ns = image_nanoseconds();
    mark->tick = thread_clock()->tick;
    mark->tid = thread_id();
    store_release(&mark->number, number);
    or_relaxed(&image.header->flags, HEAP_FLAG_MARKS);
}

/* ---- Pauses ----------------------------------------------------------------------------------------- */

extern void heapsum_pause(void);
EXPORT void heapsum_pause(void) {
    if (!is_recorded()) return;
    store_relaxed(&pauses_ever, 1);
    add_relaxed(&pauses, 1);
    start_pauses_changed();
}

extern void heapsum_resume(void);
EXPORT void heapsum_resume(void) {
    if (!is_recorded()) return;
    uint32_t before = load_relaxed(&pauses);
    do {
        if (before == 0) return; /* one too many */
    } while (!cas_relaxed(&pauses, &before, before - 1));
    start_pauses_changed();
}

/* ---- Dumps ------------------------------------------------------------------------------------------ */

extern void heapsum_dump(void);
EXPORT void heapsum_dump(void) {
    if (is_recorded()) dump_write();
}

void marks_dumped(void) { store_relaxed(&last_dump_bytes, load_relaxed(&image.header->live_bytes)); }

void marks_grown(uint64_t live_bytes) {
    uint64_t last = load_relaxed(&last_dump_bytes);
    if ((int64_t)(live_bytes - last) < (int64_t)options.dump_growth) return;
    /* Of several threads that see it the one that moves the bound writes the dump. */
    if (cas_relaxed(&last_dump_bytes, &last, live_bytes)) dump_write();
}

void marks_failed(int reason) {
    if (!options.dump_at_failure || reason != ENOMEM) return;
    uint64_t seconds = (uint64_t)system_clock(CLOCK_MONOTONIC_COARSE).tv_sec + 1, last = load_relaxed(&last_failure_seconds);
    if (last != 0 && seconds - last < FAILURE_SECONDS) return;
    if (cas_relaxed(&last_failure_seconds, &last, seconds)) dump_write();
}
