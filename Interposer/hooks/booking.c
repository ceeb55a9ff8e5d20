/*
 * The table that booking.h declares.
 */
#include "hooks/booking.h"

#include "hooks/enter.h"
#include "process/marks.h"
#include "process/start.h"
#include "stacks/unwind.h"

static void know_hooks(uintptr_t address_in_module) { callers_know(&callers.hooks, address_in_module); }

static bool enter(struct hook *hook, uintptr_t frame, uintptr_t caller, bool allocates) {
    if (start_is_early() || !hook_enter(hook, frame, caller)) return false;
    if (allocates) hook_stack(hook);
    return true;
}

__attribute__((visibility("default"))) const struct heapsum_booking heapsum_booking = {
    .version = BOOKING_VERSION,
    .enter = enter,
    .allocation = book_allocation,
    .free = book_free,
    .realloc_begin = book_realloc_begin,
    .realloc_end = book_realloc_end,
    .failed = marks_failed,
    .leave = hook_leave,
    .know = know_hooks,
};
