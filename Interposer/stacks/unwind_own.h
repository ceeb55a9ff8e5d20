/*
 * Our own unwinder but for its memo (memo.h): what unwind.c calls of it.
 */
#ifndef HEAPSUM_UNWIND_OWN_H
#define HEAPSUM_UNWIND_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stacks/cfi.h"
#include "stacks/step.h"

/* The return addresses of a stack, innermost first. */
struct pcs {
    void **values;
    size_t count, most;
    bool complete; /* out to the thread's start */
};

/* Where the hook's caller goes on, from the hook's frame (which keeps a frame pointer: __builtin_frame_address asked
 * for it). */
static inline struct machine_state own_caller(uintptr_t hook_frame) {
    return (struct machine_state){.pc = word_at(hook_frame + 8), .sp = hook_frame + 16, .fp = word_at(hook_frame)};
}

/* By the rule cache alone, for signal handlers inside of hooks, and where the memo can't serve. False where a frame
 * needs the interpreter. */
bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi);

/* By the full interpreter, from this very function outwards: its own frames and the hook's are among the pcs. For the
 * rest. */
void own_interpret(struct pcs *pcs, struct cfi_space *cfi);

/* By the chain of frame pointers, for code that was built with them. */
void own_follow_frame_pointers(struct machine_state state, struct pcs *pcs);

/* Steps over a C++ runtime's operator new that our own operator called: true, and *state moved, where it lies so. */
bool own_skip_operators(struct machine_state *state, struct cfi_space *cfi);

#endif
