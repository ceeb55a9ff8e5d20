/*
 * What the libraries for allocators' own functions (Interposer/allocators) book by: a hook's first and last lines and
 * what lies between, in one exported table. It is between libraries of one build, and promised to nobody else.
 */
#ifndef HEAPSUM_BOOKING_H
#define HEAPSUM_BOOKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "book/book.h"
#include "hooks/enter.h"

#define BOOKING_VERSION 1

struct heapsum_booking {
    uint32_t version;
    /* As hook_enter; and finds the stack of what is going to be allocated where `allocates`. False: the call is only
     * passed on. */
    bool (*enter)(struct hook *hook, uintptr_t frame, uintptr_t caller, bool allocates);
    void (*allocation)(const struct hook *hook, const void *block, size_t bytes);
    void (*free)(const struct hook *hook, const void *block);
    struct reallocation (*realloc_begin)(const struct hook *hook, void *block);
    void (*realloc_end)(const struct hook *hook, struct reallocation *old, const void *moved, size_t bytes, bool freed);
    void (*failed)(int reason); /* as marks_failed */
    void (*leave)(const struct hook *hook);
    void (*know)(uintptr_t address_in_module); /* whose hooks these are: frames of that module are no part of a stack */
};

extern const struct heapsum_booking heapsum_booking;

#endif
