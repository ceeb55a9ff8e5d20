/*
 * OpenTelemetry's process context (OTEP 4719), of which one thing is wanted here: the number that stands for one
 * attribute in the threads' records (OTEP 4947, `threadlocal.attribute_key_map`).
 */
#ifndef HEAPSUM_PROCESS_CONTEXT_H
#define HEAPSUM_PROCESS_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer payloads are not read, nor are numbers above the last that a record can have. */
#define PROCESS_CONTEXT_MOST (64u << 10)
#define PROCESS_CONTEXT_KEYS 256u

/* What a payload says. */
struct process_context {
    uint32_t count;   /* attributes that have a number */
    uint32_t numbers; /* of them, how many have the wanted name: 0 or 1, if the program follows the text */
    uint8_t number;   /* the first of these */
};

/*
 * Reads a payload of `bytes` at an address, which may be any: it is fetched piece by piece. False if it can't be read,
 * is no ProcessContext, or has no map of a schema that is known. Async-signal-safe. Takes some 500 bytes of stack.
 * Complexity: O(bytes).
 */
bool process_context_parse(uintptr_t payload, size_t bytes, const char *attribute, struct process_context *context);

/* The key of what is known: one word, which changes whenever that does. 0: nothing is known. */
#define KEY_NONE 0x1FFu
static inline uint32_t process_key_number(uint64_t key) { return key & 0x1FF; } /* KEY_NONE: no attribute of the name */
static inline uint32_t process_key_count(uint64_t key) { return key >> 9 & 0x1FF; }

/* Forgets what is known, in a fork's child or at a recording's start. */
void process_context_forget(void);

/*
 * The key as it is now: finds the process context if it is not known yet, and reads it anew if it was published anew.
 * `now_ms` is any clock of milliseconds. It looks at the header each 16 ms, or at once with `must`: a record has a
 * number that is not known. A search is rare enough to take no more than a sixty-fourth of the time.
 * Async-signal-safe. Cost: some loads; for a look a system call; for a search reading /proc/thread-self/maps.
 */
uint64_t process_context_key(const char *attribute, uint64_t now_ms, bool must);

#endif
