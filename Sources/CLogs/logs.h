/*
 * Parts of glibc that Logs needs and Swift's Glibc module lacks: they need _GNU_SOURCE, and the module is made without
 * it. They are declared as in glibc's headers.
 */
#ifndef HEAPSUM_LOGS_H
#define HEAPSUM_LOGS_H

#include <stddef.h>

void *memmem(const void *haystack, size_t haystack_bytes, const void *needle, size_t needle_bytes)
    __attribute__((__nothrow__, __pure__));
void *memrchr(const void *bytes, int byte, size_t count) __attribute__((__nothrow__, __pure__));
int pipe2(int descriptors[2], int flags) __attribute__((__nothrow__));

enum { HEAP_LOGS_SET_PIPE_SIZE = 1031 };    /* F_SETPIPE_SZ */
static const int HEAP_LOGS_HUGE_PAGES = 14; /* MADV_HUGEPAGE */

/* Prefetches the cache line at `address`. The address may be invalid: a prefetch never faults. */
static inline void heap_logs_prefetch(const void *address) { __builtin_prefetch(address); }

#endif
