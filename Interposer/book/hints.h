/*
 * What the program says of its own memory (heapsum.h): blocks that are no leaks, and memory that holds pointers.
 */
#ifndef HEAPSUM_BOOK_HINTS_H
#define HEAPSUM_BOOK_HINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A new image was made: what was said of blocks was said of another's. */
void hints_start(void);

/* The live block that holds this address is no leak. False where there is none, or no room to note it. */
bool hints_ignore(uintptr_t address);

/* Adds a root, or takes away one of the same bounds. False where there is no room, or no such root. */
bool hints_add_root(uintptr_t start, size_t bytes);
bool hints_remove_root(uintptr_t start, size_t bytes);

#endif
