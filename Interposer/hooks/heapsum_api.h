/*
 * What heapsum.h's functions do, for those that other libraries call so (lsan_api.c).
 */
#ifndef HEAPSUM_API_H
#define HEAPSUM_API_H

#include <stddef.h>

/* Nothing happens where the process isn't recorded, and api_leaks is -1 then. */
int api_leaks(void);
void api_ignore(const void *block);
void api_root(const void *start, size_t bytes);
void api_unroot(const void *start, size_t bytes);

#endif
