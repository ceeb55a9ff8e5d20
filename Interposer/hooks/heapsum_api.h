/*
 * The work of heapsum.h's functions, for other interfaces with the same meaning (lsan_api.c).
 */
#ifndef HEAPSUM_API_H
#define HEAPSUM_API_H

#include <stddef.h>

/* If the process isn't recorded, these do nothing, and api_leaks returns -1. */
int api_leaks(void);
void api_ignore(const void *block);
void api_root(const void *start, size_t bytes);
void api_unroot(const void *start, size_t bytes);

#endif
