/*
 * Which process an image belongs to: the header's fields that name the process, and the image's file name.
 */
#ifndef HEAPSUM_IDENTITY_H
#define HEAPSUM_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/heap_image.h"

/* Fills in the fields of fixed size: PID, start time, boot id, times. */
void identity_fill(struct heap_header *header);

/* Copies the program's path, its arguments and the next allocator's path into STRINGS. */
void identity_strings(struct heap_header *header);

/* `PROGRAM.PID.heap`, or `PROGRAM.PID-number.heap` for a number above 1. False if it does not fit. */
bool identity_name(char *name, size_t room, unsigned number);

/* The maps' granules, which depend on the allocator next in line. */
void identity_granules(uint8_t granule_log2[HEAP_MAP_COUNT]);

/* Writes `number` in decimal at `to`, without a terminator; returns its length. */
size_t decimal(char *to, uint64_t number);

#endif
