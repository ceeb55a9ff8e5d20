/*
 * Our own unwinder without its memo (memo.h): the functions that unwind.c calls.
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
    bool complete; /* the pcs reach the thread's start */
};

/* The state of the hook's caller after the call, from the hook's frame. The hook has a frame pointer, because it uses
 * MACHINE_FRAME. */
static inline struct machine_state own_caller(struct machine_frame hook_frame) {
    return state_of_caller(
        machine_strip(word_at(hook_frame.fp + 8)), machine_caller_sp(hook_frame), word_at(hook_frame.fp));
}

/* Unwinds by the rule cache alone: for signal handlers inside hooks, and if the memo can't answer. False if a frame
 * needs the interpreter. */
bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi);

/* Unwinds by the full interpreter, for all other stacks. It starts at this function, so its own frames and the hook's
 * are among the pcs. */
void own_interpret(struct pcs *pcs, struct cfi_space *cfi);

/* Unwinds by the chain of frame pointers, for code that was built with them. */
void own_follow_frame_pointers(struct machine_state state, struct pcs *pcs);

/* Steps over a C++ runtime's operator new if this library's own operator called it. True if it did: *state has
 * moved. */
bool own_skip_operators(struct machine_state *state, struct cfi_space *cfi);

#endif
