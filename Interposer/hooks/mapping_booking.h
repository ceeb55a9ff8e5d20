/*
 * Booking what the program maps itself. The library in mappings/ has the interposed functions; it calls these after the
 * real call, through the table in booking.h. All are async-signal-safe and keep errno.
 */
#ifndef HEAPSUM_MAPPING_BOOKING_H
#define HEAPSUM_MAPPING_BOOKING_H

#include <stddef.h>
#include <stdint.h>

#include "base/machine.h"

/* Who called the interposed function: its HOOK_FRAME and HOOK_CALLER. */
struct mapping_call {
    struct machine_frame frame;
    uintptr_t caller;
};

struct heapsum_mapping_booking {
    /* The hooks are there, in the module that has this address: mappings are booked from now on. */
    void (*begin)(uintptr_t address_in_module);

    /* A number for what the real call is about to unmap; 0: nothing is booked. */
    uint64_t (*number)(void);

    /* The arguments and the result of an mmap. `number` is from before the call. MAP_FAILED is looked into where it may
     * have unmapped something. */
    void (*mapped)(const struct mapping_call *call, uint64_t number, void *result, const void *at, size_t bytes,
        int protection, int flags, int fd);
    /* A munmap that succeeded. */
    void (*unmapped)(uint64_t number, const void *at, size_t bytes);
    /* An mremap that succeeded. */
    void (*moved)(const struct mapping_call *call, uint64_t number, const void *from, size_t old_bytes, void *to,
        size_t bytes, int flags);
    /* The break was moved. */
    void (*broke)(const struct mapping_call *call, uint64_t number, uintptr_t before, uintptr_t after);
    /* shmat and shmdt that succeeded. */
    void (*attached)(const struct mapping_call *call, void *at, int segment);
    void (*detached)(const void *at);
    /* A madvise that succeeded. */
    void (*advised)(const struct mapping_call *call, const void *at, size_t bytes, int advice);
    /* A library is about to run its first constructor: requests_opened. */
    void (*opened)(uintptr_t address);
};

extern const struct heapsum_mapping_booking mapping_booking;

#endif
