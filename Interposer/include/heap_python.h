/*
 * Python's functions among the frames of stacks (`heaprun --python`). A part of the image's format (heap_image.h).
 */
#ifndef HEAP_PYTHON_H
#define HEAP_PYTHON_H

#include <assert.h>
#include <stdint.h>

#include "heap_frames.h"

/*
 * A Python function. Its record lies in STRINGS, at any offset. In a frame that offset is in the
 * upper 32 bits of the frame's offset, and in the lower 16 how many lines after the function's first its line is, plus
 * one; 0: the line is not known. Record 0: the function is not known, because the process has more than
 * HEAP_PYTHON_FUNCTIONS_MOST functions and files, or STRINGS is full.
 */
#define HEAP_PYTHON_FUNCTIONS_MOST 32768u
#define HEAP_PYTHON_LINES_MOST 0xFFFFu
#define HEAP_PYTHON_FILE_BYTES 1023u
#define HEAP_PYTHON_NAME_BYTES 255u
struct heap_python_function {
    struct heap_string file; /* as Python names it (co_filename): a path, or a text such as "<string>" */
    struct heap_string name; /* the qualified one (co_qualname) */
    uint32_t first_line;
    uint32_t reserved;
};
static inline uint64_t heap_python_frame(uint32_t record, uint32_t line) {
    return heap_frame_make(HEAP_MODULE_PYTHON, (uint64_t)record << 16 | line);
}
static inline uint32_t heap_python_record(uint64_t frame) { return (uint32_t)(heap_frame_offset(frame) >> 16); }
static inline uint32_t heap_python_line(uint64_t frame) { return (uint32_t)(frame & 0xFFFF); }

static_assert(sizeof(struct heap_python_function) == 24, "Python function");

#endif
