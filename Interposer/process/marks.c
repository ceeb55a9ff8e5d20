/*
 * Dumps without a signal: when the heap grows, or when an allocation fails.
 */
#include "process/marks.h"

#include <errno.h>

#include "base/atomics.h"
#include "base/options.h"
#include "base/system.h"
#include "image/image.h"
#include "process/dump.h"

static uint64_t last_failure_seconds; /* of the last dump for a failure; 0: none */
#define FAILURE_SECONDS 60

void marks_grown(uint64_t live_bytes) {
    uint64_t last = load_relaxed(&dump_last_live_bytes);
    if ((int64_t)(live_bytes - last) < (int64_t)options.dump_growth) return;
    /* If several threads see it, the one that moves the bound writes the dump. */
    if (cas_relaxed(&dump_last_live_bytes, &last, live_bytes)) dump_write();
}

void marks_failed(int reason) {
    if (!options.dump_at_failure || reason != ENOMEM) return;
    uint64_t seconds = (uint64_t)system_clock(CLOCK_MONOTONIC_COARSE).tv_sec + 1,
             last = load_relaxed(&last_failure_seconds);
    if (last != 0 && seconds - last < FAILURE_SECONDS) return;
    if (cas_relaxed(&last_failure_seconds, &last, seconds)) dump_write();
}
