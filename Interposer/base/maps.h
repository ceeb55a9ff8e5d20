/*
 * The process's mappings, by /proc/self/maps (proc(5)): what file really lies at an address, and what may be executed.
 */
#ifndef HEAPSUM_MAPS_H
#define HEAPSUM_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping {
    uintptr_t start, end;
    uint64_t inode; /* 0: of no file */
    uint32_t device_major, device_minor;
    bool readable, executable;
};

/*
 * Calls `visit` for each mapping, in order, until it answers true. `path` (of `room` bytes) holds the mapped file's
 * path or the mapping's name, cut where it is longer; NULL where it is not wanted. False where the file can't be read,
 * or files may not be opened (system_may_look). Some 600 bytes of stack; async-signal-safe. Complexity: the kernel's,
 * some 100 microseconds for hundreds of mappings.
 */
bool maps_each(bool (*visit)(const struct mapping *mapping, void *context), void *context, char *path, size_t room);

/* The mapping that holds an address, and its path: that of the file as the kernel knows it, with " (deleted)" behind it
 * where it is gone. */
bool maps_find(uintptr_t address, struct mapping *mapping, char *path, size_t room);

#endif
