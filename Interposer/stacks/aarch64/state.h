/*
 * A thread's registers at a frame, and the common step to its caller, on AArch64. All reads stay in the stack: between
 * the stack pointer and the end of its bounds. There is no red zone.
 */
#ifndef HEAPSUM_STATE_AARCH64_H
#define HEAPSUM_STATE_AARCH64_H

struct machine_state {
    /* where the frame continues: a return address, or the next instruction itself if a signal interrupted the frame */
    uintptr_t pc;
    uintptr_t sp;
    uintptr_t fp;
    uintptr_t address, word; /* the word of the stack that the pc was read from, and what it held: maybe signed */
    uintptr_t link; /* where the kernel saved x30, if a signal interrupted the frame; 0: x30 is not the frame's own */
};

static inline uintptr_t state_address(const struct machine_state *state) { return state->address; }
static inline uintptr_t state_word(const struct machine_state *state) { return state->word; }
/* The same of a frame that a signal interrupted. */
static inline uintptr_t state_signal_address(const struct machine_state *state, uintptr_t inner_sp) {
    (void)inner_sp;
    return state->address;
}

/* The state of a hook's caller after the call. */
static inline struct machine_state state_of_caller(uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    return (struct machine_state){.pc = pc, .sp = sp, .fp = fp};
}

static inline __attribute__((always_inline)) void state_copy(
    struct machine_state *to, const struct machine_state *from) {
    *to = *from;
}

/*
 * Steps by a rule that uses the stack pointer or the frame pointer, and finds the return address on the stack, as
 * nearly all rules do. Returns false and changes nothing for other rules and if the rule leads nowhere: then step()
 * must be asked. `state->sp` must be a multiple of 16, and not above `high`.
 */
static inline __attribute__((always_inline)) bool step_plainly(
    struct machine_state *state, uint64_t rule, uintptr_t high) {
    uint64_t kind = rule_kind(rule);
    uintptr_t cfa = (kind == RULE_SP ? state->sp : state->fp) + (uintptr_t)rule_cfa_offset(rule);
    uint64_t above = cfa - state->sp - 16; /* rotated by four bits, it is also too large if the CFA isn't aligned */
    uintptr_t slot = cfa - rule_slot(rule), address = slot + 8 * rule_saves_fp(rule);
    if (unlikely(kind - RULE_SP > RULE_FP - RULE_SP)) return false;
    if (unlikely((above >> 4 | above << 60) >= (high - state->sp) >> 4)) return false;
    if (unlikely(slot < state->sp)) return false;
    uintptr_t saved = word_at(slot); /* the return address, if the frame pointer is not saved */
    state->fp = rule_saves_fp(rule) ? saved : state->fp;
    state->word = word_at(address);
    state->address = address;
    state->pc = machine_strip(state->word);
    state->sp = cfa;
    state->link = 0;
    return true;
}

#endif
