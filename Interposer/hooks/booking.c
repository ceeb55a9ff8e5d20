/*
 * The table that booking.h declares.
 */
#include "hooks/booking.h"

#include "hooks/enter.h"
#include "process/marks.h"
#include "process/start.h"
#include "stacks/unwind.h"
#include "threads/sample.h"

static void know_hooks(uintptr_t address_in_module) { callers_know(&callers.hooks, address_in_module); }

static bool enter(struct hook *hook, struct machine_frame frame, uintptr_t caller, bool allocates) {
    if (start_is_early() || !hook_enter(hook, frame, caller)) return false;
    if (allocates) hook_stack(hook);
    return true;
}

/* The block's size is known only after the call (xallocx), so the draw is made here. The stack was found already; that
 * work is wasted if the allocation is not drawn. */
static void book_drawn(const struct hook *hook, const void *block, size_t bytes) {
    if (sample_books(bytes)) book_allocation(hook, block, bytes);
}

static void free_drawn(const struct hook *hook, const void *block) {
    sample_age();
    book_free(hook, block);
}

static void end_drawn(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed) {
    sample_age();
    if (moved == NULL || sample_books(bytes)) book_realloc_end(hook, old, moved, bytes, freed);
    else book_realloc_end(hook, old, NULL, 0, true);
}

__attribute__((visibility("default"))) const struct heapsum_booking heapsum_booking = {
    .version = BOOKING_VERSION,
    .enter = enter,
    .allocation = book_drawn,
    .free = free_drawn,
    .realloc_begin = book_realloc_begin,
    .realloc_end = end_drawn,
    .failed = marks_failed,
    .leave = hook_leave,
    .know = know_hooks,
    .mappings = &mapping_booking,
};
