/* The area of the XSAVE instruction. See area.h. */
#include "area.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define FIRST_PARTS 2u /* x87 and SSE, at a fixed place */
#define HEAD_AT 512u
#define AREA_LEAST 576u

size_t area_in_use(const uint8_t *area, size_t count, const struct area_part parts[AREA_PARTS]) {
    uint64_t head[2]; /* XSTATE_BV: the parts in use; XCOMP_BV: not 0 in the compacted format */
    size_t end = AREA_LEAST;
    if (count < AREA_LEAST) return 0;
    memcpy(head, area + HEAD_AT, sizeof head);
    if (head[1] != 0 || head[0] >> AREA_PARTS != 0) return 0;
    for (unsigned i = FIRST_PARTS; i < AREA_PARTS; i++) {
        if ((head[0] >> i & 1) == 0) continue;
        const size_t behind = (size_t)parts[i].at + parts[i].bytes;
        if (parts[i].bytes == 0 || parts[i].at < AREA_LEAST || behind > count) return 0;
        if (behind > end) end = behind;
    }
    return end;
}

const struct area_part *area_parts(void) {
    static _Thread_local struct area_part parts[AREA_PARTS];
#if defined(__x86_64__)
    static _Thread_local int is_known;
    /* Once: in a virtual machine each question takes microseconds. */
    for (unsigned i = FIRST_PARTS; !is_known && i < AREA_PARTS; i++) {
        unsigned bytes = 0, at = 0, flags = 0, unused = 0;
        /* Parts of the kernel's own (flag 1) have no place in this format. */
        if (__get_cpuid_count(0xD, i, &bytes, &at, &flags, &unused) && (flags & 1) == 0)
            parts[i] = (struct area_part){at, bytes};
    }
    is_known = 1;
#endif
    return parts;
}
