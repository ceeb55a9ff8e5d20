/*
 * The places of the program's code that lead to the recorder under `heaprun --valgrind-requests`
 * (hooks/x86_64/request_places.c). Such a place is no call for the code around it: a compiler keeps values across it in
 * all registers and below the stack pointer.
 */
#ifndef HEAPSUM_CHANGED_H
#define HEAPSUM_CHANGED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/machine.h"

/* Whether there may be such places. Set before the first is made, and never taken back. Defined in system.c. */
enum code_changed { CODE_UNCHANGED, CODE_CHANGED, CODE_CHANGED_WITH_XSAVE /* the processor has XSAVE, enabled */ };
extern HIDDEN uint32_t code_is_changed;

#if defined(__x86_64__)
#include "base/x86_64/changed.h"
#else
/* None are made on this architecture. */
struct kept_vectors {
    char nothing;
};
static inline void vectors_keep(struct kept_vectors *kept) { (void)kept; }
static inline void vectors_restore(const struct kept_vectors *kept) { (void)kept; }
#define CHANGED_DEPTH 0
static inline bool is_bridge(uintptr_t pc) {
    (void)pc;
    return false;
}
static inline int64_t changed_depth(uintptr_t pc) {
    (void)pc;
    return 0;
}
#endif

/*
 * A call of another's function, which may use vectors, in a hook that a changed place may have called. This library's
 * own code uses none (-mgeneral-regs-only).
 */
#define KEEPING_VECTORS(call) \
    do { \
        struct kept_vectors kept_; \
        vectors_keep(&kept_); \
        call; \
        vectors_restore(&kept_); \
    } while (0)

#endif
