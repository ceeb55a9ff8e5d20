/*
 * A thread's state, its clock, and its id.
 */
#include "threads/thread.h"

#include "base/atomics.h"
#include "base/system.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "LOCAL_IDLE is `ready`");
__thread struct local local = {.plain = IMAGE_NONE, .sampled = IMAGE_NONE, .passing = IMAGE_NONE, .ready = 1};
uint64_t image_number;

void thread_clock_moved(struct timespec now) {
    struct thread_clock *clock = &local.clock;
    clock->milliseconds = image_nanoseconds_at(now) / 1000000;
    clock->tick = heap_tick_of_milliseconds(clock->milliseconds);
    fence_compiler(); /* a signal handler's hook that runs in between computes it itself */
    clock->seen = now;
    if (local.record != NULL && clock->milliseconds - local.record->folded_ms >= THREAD_FOLD_MILLISECONDS)
        local.fold_at = 0;
}

uint32_t thread_id(void) { return system_thread(); }
