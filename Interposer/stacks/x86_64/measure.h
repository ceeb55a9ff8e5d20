/*
 * The size of a frame, by the function's own instructions, for code that has no call frame information.
 */
#ifndef HEAPSUM_MEASURE_H
#define HEAPSUM_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

/* What a function has done to the stack up to one of its instructions, in words of 8 bytes. */
struct measured {
    int16_t depth; /* from the stack pointer up to the return address; MEASURED_NOT if that isn't constant */
    int16_t fp;    /* the same from the frame pointer; MEASURED_NOT: it is no frame pointer */
    int16_t saved; /* the caller's frame pointer is this far below the CFA; 0: in its register */
};
#define MEASURED_NOT (-1)

/*
 * Goes through the function that begins at `start`, along its branches and jumps, up to the instruction at `pc`, which
 * is a return address if `is_return`. True if that leads there: then `*measured` holds on each way, as compilers keep
 * a frame's size the same on all ways to an instruction. The function may end by a jump to another one, as the last
 * thing it does; then the frame is that one's.
 *
 * Reads code by memory_fetch. Needs 1,200 bytes of stack. Complexity: at most MEASURED_MOST bytes are read a few
 * times. No allocation, no lock.
 */
bool measure_frame(uintptr_t start, uintptr_t pc, bool is_return, struct measured *measured);

#define MEASURED_MOST 8192 /* bytes of a function that are examined */

#endif
