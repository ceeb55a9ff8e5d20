/*
 * A thread's registers at a frame, and the common step to its caller, on x86-64. All reads stay in the stack: between
 * the red zone below the stack pointer (System V ABI, AMD64, 3.2.2) and the end of its bounds.
 */
#ifndef HEAPSUM_STATE_X86_64_H
#define HEAPSUM_STATE_X86_64_H

struct machine_state {
    /* where the frame continues: a return address, or the next instruction itself if a signal interrupted the frame */
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
};

#define RED_ZONE 128u

/* The word that the pc was read from, and what it held: the call pushed it. Not of a frame that a signal interrupted.
 */
static inline uintptr_t state_address(const struct machine_state *state) { return state->sp - 8; }
static inline uintptr_t state_word(const struct machine_state *state) { return state->pc; }
/* The same of a frame that a signal interrupted. `inner_sp` is the stack pointer of the next inner frame. */
static inline uintptr_t state_signal_address(const struct machine_state *state, uintptr_t inner_sp) {
    (void)state;
    return inner_sp + SIGNAL_FRAME_PC;
}

/* The state of a hook's caller after the call. */
static inline struct machine_state state_of_caller(uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    return (struct machine_state){pc, sp, fp};
}

/* Copies field by field: a copy as a whole stalls on its own stores. */
static inline __attribute__((always_inline)) void state_copy(
    struct machine_state *to, const struct machine_state *from) {
    to->pc = from->pc;
    to->sp = from->sp;
    to->fp = from->fp;
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

#endif
