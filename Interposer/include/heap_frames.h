/*
 * What names a place in the program: texts, and frames of stacks. A part of the image's format (heap_image.h).
 */
#ifndef HEAP_FRAMES_H
#define HEAP_FRAMES_H

#include <assert.h>
#include <stdint.h>

/* Bytes in STRINGS: usually UTF-8, but any bytes may occur. In `arguments`, NUL bytes separate the arguments. */
struct heap_string {
    uint32_t offset; /* 0: none */
    uint32_t length; /* bytes, without a terminator */
};

static_assert(sizeof(struct heap_string) == 8, "string");

/* A frame: module in the top 16 bits, the return address less the module's load bias in the low 48. */
#define HEAP_FRAME_MODULE_SHIFT 48
#define HEAP_FRAME_OFFSET_MASK 0xFFFFFFFFFFFFull
#define HEAP_MODULE_NONE 0u        /* no module was at the address; the offset is the absolute address */
#define HEAP_MODULE_PYTHON 0xFFFCu /* a Python function: the offset names it and its line, as heap_python_frame */
#define HEAP_MODULE_TAG 0xFFFDu    /* a root frame: the offset is a tag's text, as heap_tag_frame makes it */
#define HEAP_MODULE_THREAD 0xFFFEu /* a root frame: the offset is the thread's tid */
#define HEAP_MODULE_CUT 0xFFFFu    /* frames are missing here: the offset says why */

enum heap_cut {
    HEAP_CUT_DEPTH = 0, /* the stack is over the depth limit, or the unwinder gave up */
    /* the image had reached `maximum_stacks`: one row for all newer stacks that share the same known outer frames */
    HEAP_CUT_STACKS = 1,
    /* packed: one row for all stacks that held nothing at the end, at the peak and at every snapshot, and allocated
     * little */
    HEAP_CUT_GONE = 2,
};

static inline uint64_t heap_frame_make(uint32_t module, uint64_t offset) {
    return (uint64_t)module << HEAP_FRAME_MODULE_SHIFT | (offset & HEAP_FRAME_OFFSET_MASK);
}
static inline uint32_t heap_frame_module(uint64_t frame) { return (uint32_t)(frame >> HEAP_FRAME_MODULE_SHIFT); }
static inline uint64_t heap_frame_offset(uint64_t frame) { return frame & HEAP_FRAME_OFFSET_MASK; }

/* A tag is what the program says a thread works for (heapsum_tag). Its text lies in STRINGS: the offset there in the
 * upper 32 bits of the frame's offset, the bytes in the lower 16. A text without bytes stands for the tags beyond the
 * first HEAP_TAGS_MOST. */
#define HEAP_TAGS_MOST 4096u
#define HEAP_TAG_BYTES 255u
/* The tag of blocks whose thread had a context of OpenTelemetry that could not be read. */
#define HEAP_TAG_UNREAD "OpenTelemetry context not read"
static inline uint64_t heap_tag_frame(struct heap_string text) {
    return heap_frame_make(HEAP_MODULE_TAG, (uint64_t)text.offset << 16 | text.length);
}
static inline struct heap_string heap_tag_string(uint64_t frame) {
    struct heap_string text = {(uint32_t)(heap_frame_offset(frame) >> 16), (uint32_t)(frame & 0xFFFF)};
    return text;
}

#endif
