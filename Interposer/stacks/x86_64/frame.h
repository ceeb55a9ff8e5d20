/*
 * What a function on x86-64 has done to the stack up to one of its instructions, in words of 8 bytes.
 */
#ifndef HEAPSUM_FRAME_X86_64_H
#define HEAPSUM_FRAME_X86_64_H

#include <stdbool.h>
#include <stdint.h>

#include "stacks/x86_64/instruction.h"

struct measured {
    int16_t depth; /* from the stack pointer up to the return address; MEASURED_NOT if that isn't constant */
    int16_t fp;    /* the same from the frame pointer; MEASURED_NOT: it is no frame pointer */
    int16_t saved; /* the caller's frame pointer is this far below the CFA; 0: in its register; MEASURED_LOST */
};

#define MEASURED_FIRST ((struct measured){.depth = 0, .fp = MEASURED_NOT, .saved = 0})

static inline bool measured_is_known(const struct measured *frame) { return frame->depth >= 0 || frame->fp >= 0; }
static inline bool measured_is_first(const struct measured *frame) { return frame->depth == 0 && frame->saved == 0; }
static inline bool measured_is_whole(const struct measured *frame) { return frame->saved != MEASURED_LOST; }
static inline bool measured_differs(const struct measured *frame, const struct measured *other) {
    return frame->depth != other->depth || frame->fp != other->fp || frame->saved != other->saved;
}
static inline bool measured_merge(struct measured *frame, const struct measured *other) {
    if (frame->depth >= 0 && other->depth >= 0 && frame->depth != other->depth) return false;
    if (frame->depth != other->depth) frame->depth = MEASURED_NOT;
    if (frame->fp != other->fp) frame->fp = MEASURED_NOT;
    if (frame->saved != other->saved) frame->saved = MEASURED_LOST;
    return true;
}

#endif
