/*
 * One step from a frame to its caller, where calls push their return address: what the memo and the plain walk share.
 *
 * No read leaves the stack: from the red zone below the stack pointer (System V ABI, AMD64, 3.2.2) to the end of its
 * bounds.
 */
#ifndef HEAPSUM_STEP_H
#define HEAPSUM_STEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "stacks/bounds.h"
#include "stacks/rules.h"

/* A thread's registers at one of its frames, as far as unwinding needs them. */
struct machine_state {
    /* where the frame goes on: a return address, or, where a signal interrupted it, the instruction itself */
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
};

#define RED_ZONE 128u

static inline uintptr_t word_at(uintptr_t address) { return *(const volatile uintptr_t *)address; }
static inline bool holds(struct cfi_bounds bounds, uintptr_t address) {
    return address >= bounds.low && address <= bounds.high - 8;
}

/*
 * Steps by a rule for the stack or the frame pointer, which nearly all are, without a branch between the two. False,
 * and nothing changed, for other rules, and where the rule leads nowhere: step() says what it is then. `high` is a
 * multiple of 8, and `state->sp` is another, not above it.
 */
static inline __attribute__((always_inline)) bool step_plainly(
    struct machine_state *state, uint64_t rule, uintptr_t high) {
    uint64_t kind = rule_kind(rule);
    uintptr_t cfa = (kind == RULE_SP ? state->sp : state->fp) + (uintptr_t)rule_cfa_offset(rule);
    uint64_t above = cfa - state->sp - 8; /* turned by three bits it is too large for a CFA that isn't aligned, too */
    uintptr_t slot = cfa - rule_saved_fp(rule);
    if (unlikely(kind - RULE_SP > RULE_FP - RULE_SP)) return false;
    if (unlikely((above >> 3 | above << 61) >= (high - state->sp) >> 3)) return false;
    if (unlikely(slot + RED_ZONE < state->sp)) return false;
    uintptr_t saved = word_at(slot); /* the return address, where the frame pointer is not saved */
    state->fp = rule_saved_fp(rule) == RULE_FP_NOT_SAVED ? state->fp : saved;
    state->pc = word_at(cfa - 8);
    state->sp = cfa;
    return true;
}

/* What became of a step. */
enum step {
    STEP_DONE, /* `state` is the caller's */
    /* so it is, and it was interrupted: its pc is that of an instruction, not of the one behind a call */
    STEP_EXACT,
    STEP_END,       /* this was the outermost frame */
    STEP_NOWHERE,   /* the rule leads nowhere: the stack is cut */
    STEP_INTERPRET, /* only the full interpreter can do it */
};

/* Steps by any rule. Where a signal handler had a stack of its own, the bounds become those of the interrupted stack.
 */
enum step step(struct machine_state *state, uint64_t rule, struct cfi_bounds *bounds);

#endif
