/*
 * The exported table with which the libraries for allocators' own functions (Interposer/allocators) and for mappings
 * (Interposer/mappings) enter hooks, book and leave. It is for libraries of the same build; nobody else may rely on it.
 */
#ifndef HEAPSUM_BOOKING_H
#define HEAPSUM_BOOKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "book/book.h"
#include "hooks/enter.h"
#include "hooks/mapping_booking.h"

#define BOOKING_VERSION 4

struct heapsum_booking {
    uint32_t version;
    /* hook_enter; if `allocates`, it also finds the stack. False: pass the call on, and book nothing. */
    bool (*enter)(struct hook *hook, struct machine_frame frame, uintptr_t caller, bool allocates);
    void (*allocation)(const struct hook *hook, const void *block, size_t bytes);
    void (*free)(const struct hook *hook, const void *block);
    struct reallocation (*realloc_begin)(const struct hook *hook, void *block);
    void (*realloc_end)(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed);
    void (*failed)(int reason); /* marks_failed */
    void (*leave)(const struct hook *hook);
    void (*know)(uintptr_t address_in_module); /* names the module that these hooks are in: its frames are left out of
                                                  stacks */
    const struct heapsum_mapping_booking *mappings;
};

extern const struct heapsum_booking heapsum_booking;

/*
 * What libheapsum-mappings.so exports as `heapsum_mapping_hooks`. In a program to which heaprun attached the library is
 * loaded by dlopen: nothing binds the two to each other, so heapsum_attach finds the hooks here, and hands its table
 * over.
 */
struct heapsum_mapping_hooks {
    uint32_t version; /* BOOKING_VERSION */
    uint32_t count;
    void (*use)(const struct heapsum_booking *booking);
    const struct heapsum_mapping_hook {
        const char *name;
        void *hook;
    } * hooks;
};

#endif
