/*
 * Python's functions in the image: each is stored once, and a frame names it and its line.
 */
#ifndef HEAPSUM_PYTHON_NAMES_H
#define HEAPSUM_PYTHON_NAMES_H

#include <stdint.h>

#include "stacks/python_chain.h"

/* A thread's last places in Python code, with their frames in the image. */
#define PYTHON_PLACES 2048
struct python_place {
    uint64_t key; /* of the code's fingerprint and the instruction; 0: none */
    uint64_t frame;
};

/* The image's frame of a Python frame of the chain that was read last: HEAP_MODULE_PYTHON. Complexity: a look into a
 * table; the first time, the code's lines are decoded up to the instruction. */
uint64_t python_frame_id(
    struct python_chain *chain, const struct python_frame *frame, struct python_place places[PYTHON_PLACES]);

#endif
