/*
 * Stacks of C and Python: the interpreter's C frames are replaced by the Python frames that they execute
 * (heaprun --python).
 */
#ifndef HEAPSUM_PYTHON_H
#define HEAPSUM_PYTHON_H

#include <stdint.h>

#include "stacks/step.h"

struct scratch;

/* Called once, at the start. */
void python_start(void);

/* A thread's work space. It is untouched without --python. */
#define PYTHON_SPACE_BYTES (288u << 10)

/* The number of the stack whose innermost C frame has these registers, with its Python frames; 0 if the thread executes
 * no Python function, or if the two don't fit together (counted): then its C frames must be taken alone. At level 0
 * only. Complexity: python_chain_read, and a step for each new C frame. */
uint32_t python_stack(struct scratch *scratch, struct machine_state leaf);

#endif
