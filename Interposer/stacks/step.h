/*
 * One step from a frame to its caller, on processors whose calls push the return address. The memo and the plain walk
 * share it.
 *
 * All reads stay in the stack: between the red zone below the stack pointer (System V ABI, AMD64, 3.2.2) and the end of
 * its bounds.
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
    /* where the frame continues: a return address, or the next instruction itself if a signal interrupted the frame */
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
 * Steps by a rule that uses the stack pointer or the frame pointer, as nearly all rules do, without a branch between
 * the two. Returns false and changes nothing for other rules and if the rule leads nowhere: then step() must be asked.
 * `high` and `state->sp` must be multiples of 8, and `state->sp` not above `high`.
 */
static inline __attribute__((always_inline)) bool step_plainly(
    struct machine_state *state, uint64_t rule, uintptr_t high) {
    uint64_t kind = rule_kind(rule);
    uintptr_t cfa = (kind == RULE_SP ? state->sp : state->fp) + (uintptr_t)rule_cfa_offset(rule);
    uint64_t above = cfa - state->sp - 8; /* rotated by three bits, it is also too large if the CFA isn't aligned */
    uintptr_t slot = cfa - rule_saved_fp(rule);
    if (unlikely(kind - RULE_SP > RULE_FP - RULE_SP)) return false;
    if (unlikely((above >> 3 | above << 61) >= (high - state->sp) >> 3)) return false;
    if (unlikely(slot + RED_ZONE < state->sp)) return false;
    uintptr_t saved = word_at(slot); /* the return address, if the frame pointer is not saved */
    state->fp = rule_saved_fp(rule) == RULE_FP_NOT_SAVED ? state->fp : saved;
    state->pc = word_at(cfa - 8);
    state->sp = cfa;
    return true;
}

/* The result of a step. */
enum step {
    STEP_DONE, /* `state` is the caller's */
    /* `state` is the caller's, and a signal interrupted it: its pc is that of an instruction, not a return address */
    STEP_EXACT,
    STEP_END,       /* this was the outermost frame */
    STEP_NOWHERE,   /* the rule leads nowhere: the stack is cut */
    STEP_INTERPRET, /* only the full interpreter can do it */
};

/* Steps by any rule. If a signal handler ran on its own stack, the bounds become those of the interrupted stack.
 */
enum step step(struct machine_state *state, uint64_t rule, struct cfi_bounds *bounds);

#endif
