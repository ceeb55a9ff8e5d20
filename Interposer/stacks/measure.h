/*
 * The size of a frame, by the function's own instructions, for code that has no call frame information.
 */
#ifndef HEAPSUM_MEASURE_H
#define HEAPSUM_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

#define MEASURED_NOT (-1)  /* of a distance: it isn't constant */
#define MEASURED_LOST (-1) /* of the place of a caller's register: it is nowhere */
#define MEASURED_MOST 8192 /* bytes of a function that are examined */

/* A number that a register holds, known up to the next place that a branch leads to: the size of a large frame. */
struct constant {
    bool is_known;
    uint8_t number; /* the register's */
    uint32_t value;
};

/* Where it goes on after an instruction; by how many bytes further on, `immediate` says. */
enum flow { FLOW_NEXT, FLOW_CALL, FLOW_BRANCH, FLOW_JUMP, FLOW_END };

/*
 * Of the processor: struct measured, what a function has done to the stack up to one of its instructions; and of it
 * MEASURED_FIRST, at a function's first instruction; measured_is_known(), whether the way to the instruction is known;
 * measured_is_first(), whether all is as at the first instruction; measured_is_whole(), whether it says where all of
 * the caller's registers are; measured_differs(); measured_merge(), which puts into *frame what holds on both ways, and
 * is false if they can't lead to the same instruction.
 */
#if defined(__x86_64__)
#include "stacks/x86_64/frame.h"
#elif defined(__aarch64__)
#include "stacks/aarch64/frame.h"
#endif

/* What the instruction does to the frame. Pure. */
void measured_change(struct measured *frame, struct constant *constant, const struct instruction *instruction);

enum flow instruction_flow(const struct instruction *instruction);

/* Whether it fills up the space before a block at a round address. */
bool instruction_is_padding(const struct instruction *instruction);

/*
 * Goes through the function that begins at `start`, along its branches and jumps, up to the instruction at `pc`, which
 * is a return address if `is_return`. True if that leads there: then `*measured` holds on each way, as compilers keep
 * a frame's size the same on all ways to an instruction. The function may end by a jump to another one, as the last
 * thing it does; then the frame is that one's.
 *
 * Reads code by memory_fetch. Needs 1,200 bytes of stack, on AArch64 1,500. Complexity: at most MEASURED_MOST bytes are
 * read a few times. No allocation, no lock.
 */
bool measure_frame(uintptr_t start, uintptr_t pc, bool is_return, struct measured *measured);

#endif
