/*
 * The functions of heapsum.h. A mark is written into the header's page, its number last. A pause sets a bit in the word
 * that each hook reads anyway, so the common path costs nothing more; the other path books frees and skips allocations.
 */
#include "hooks/heapsum_api.h"

#include <string.h>

#include "base/atomics.h"
#include "base/system.h"
#include "book/hints.h"
#include "book/pauses.h"
#include "image/image.h"
#include "process/dump.h"
#include "process/request.h"
#include "process/start.h"
#include "stacks/tags.h"
#include "threads/hook.h"
#include "threads/thread.h"

/* Whether this process books into the image. A vfork's child shares the memory, but the image is its parent's. */
static bool is_recorded(void) { return start_recording() && hook_is_live() && image.header->pid == system_process(); }

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

/* Not only while the process is recorded: a recording that begins later finds the tags that threads have then. */
extern const char *heapsum_tag(const char *tag);
EXPORT const char *heapsum_tag(const char *tag) { return tags_set(tag); }

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
        if (before == 0) return; /* one resume too many */
    } while (!cas_relaxed(&pauses, &before, before - 1));
    start_pauses_changed();
}

extern void heapsum_dump(void);
EXPORT void heapsum_dump(void) {
    if (is_recorded()) dump_write();
}

int api_leaks(void) { return is_recorded() ? request_leaks() : -1; }

extern int heapsum_leaks(void);
EXPORT int heapsum_leaks(void) { return api_leaks(); }

void api_ignore(const void *block) {
    if (block != NULL && is_recorded()) hints_ignore((uintptr_t)block);
}

extern void heapsum_ignore(const void *block);
EXPORT void heapsum_ignore(const void *block) { api_ignore(block); }

void api_root(const void *start, size_t bytes) {
    if (is_recorded()) hints_add_root((uintptr_t)start, bytes);
}

extern void heapsum_root(const void *start, size_t bytes);
EXPORT void heapsum_root(const void *start, size_t bytes) { api_root(start, bytes); }

void api_unroot(const void *start, size_t bytes) {
    if (is_recorded()) hints_remove_root((uintptr_t)start, bytes);
}

extern void heapsum_unroot(const void *start, size_t bytes);
EXPORT void heapsum_unroot(const void *start, size_t bytes) { api_unroot(start, bytes); }
