/*
 * The process's mappings, from /proc/thread-self/maps (proc(5)): which file is mapped at an address, and what is
 * executable.
 */
#ifndef HEAPSUM_MAPS_H
#define HEAPSUM_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mapping {
    uintptr_t start, end;
    uint64_t inode; /* 0: not a file */
    uint32_t device_major, device_minor;
    bool readable, executable;
};

/*
 * Calls `visit` for each mapping, in order, until it returns true. During a call `path` (`room` bytes) holds the mapped
 * file's path or the mapping's name, truncated if it is longer; pass NULL if no path is needed. Returns false if the
 * file can't be read or a seccomp filter forbids opening files (system_may_look). Takes some 600 bytes of stack;
 * async-signal-safe. Cost: some 100 microseconds in the kernel for hundreds of mappings.
 */
bool maps_each(bool (*visit)(const struct mapping *mapping, void *context), void *context, char *path, size_t room);

/* Finds the mapping that holds an address; false if there is none or the file can't be read. `path` receives the
 * kernel's path of the file, with " (deleted)" appended if the file has been deleted. */
bool maps_find(uintptr_t address, struct mapping *mapping, char *path, size_t room);

#endif
