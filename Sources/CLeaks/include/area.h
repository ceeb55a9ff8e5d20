/*
 * How much of a thread's vector registers a signal frame may have: x86-64.
 *
 * The kernel restores all of a frame only if its area is no larger than the thread's own. With a larger one it restores
 * x87 and SSE alone, and says nothing (check_xstate_in_sigframe). A thread's own area is smaller than the largest one
 * if the process has no permission for a part (AMX's tiles), and nobody else can ask for that; but ptrace gives the
 * largest area for each thread. So a frame's area ends behind the last part that is in use: that part is in the
 * thread's own area, too.
 */
#ifndef HEAPSUM_LEAKS_AREA_H
#define HEAPSUM_LEAKS_AREA_H

#include <stddef.h>
#include <stdint.h>

/* Where the processor stores a part of its state in XSAVE's area. bytes 0: it has no such part. */
struct area_part {
    uint32_t at, bytes;
};
#define AREA_PARTS 63

/* From the start of the area to the end of the last part in use, at least 576 (the parts before it, and the head). 0:
 * that is unknown, because a part in use is not among `parts` or not in the area, or the area has another format.
 * `area` has `count` bytes as PTRACE_GETREGSET gives them for NT_X86_XSTATE. */
size_t area_in_use(const uint8_t *area, size_t count, const struct area_part parts[AREA_PARTS]);

/* This processor's parts, by CPUID. On others than x86-64 it has none. */
const struct area_part *area_parts(void);

#endif
