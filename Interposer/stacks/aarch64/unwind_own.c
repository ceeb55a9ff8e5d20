/*
 * Our own unwinder for AArch64, without its memo: a step from frame to frame by each kind of rule, and the walks by the
 * interpreter and by frame pointers.
 */
#include "stacks/unwind_own.h"

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "stacks/outermost.h"
#include "stacks/return_address.h"
#include "stacks/rules.h"
#include "stacks/scratch.h"
#include "threads/thread.h"

_Static_assert(
    SIGNAL_FRAME_REGISTERS == sizeof(siginfo_t) + offsetof(ucontext_t, uc_mcontext) + offsetof(mcontext_t, regs),
    "where the kernel saves x0");
_Static_assert(offsetof(mcontext_t, sp) - offsetof(mcontext_t, regs) == 8 * DWARF_SP, "the stack pointer");
_Static_assert(offsetof(mcontext_t, pc) - offsetof(mcontext_t, regs) == 8 * DWARF_PC, "the pc");

/* Whether a word may be read while the innermost frame's stack pointer is `sp`. */
static inline bool readable(const struct cfi_bounds *bounds, uintptr_t sp, uintptr_t address) {
    return address % 8 == 0 && address >= sp && address <= bounds->high - 8;
}

static enum step step_out_of_signal(struct machine_state *state, struct cfi_bounds *bounds) {
    const uintptr_t sp = state->sp, pc = sp + SIGNAL_FRAME_PC;
    if (!readable(bounds, sp, pc)) return STEP_NOWHERE;
    *state = (struct machine_state){.pc = word_at(pc),
        .sp = word_at(sp + SIGNAL_FRAME_SP),
        .fp = word_at(sp + SIGNAL_FRAME_FP),
        .address = pc,
        .word = word_at(pc),
        .link = sp + SIGNAL_FRAME_LR};
    if (!holds(*bounds, state->sp)) *bounds = bounds_of_stack(state->sp); /* the handler ran on its own stack */
    return state->sp % 16 == 0 ? STEP_EXACT : STEP_NOWHERE;
}

/* Steps out of a function that has not saved x30, or restored it already. Only a signal can have interrupted it: else
 * x30 belongs to a function further in. */
static enum step step_out_of_leaf(struct machine_state *state, uint64_t rule, const struct cfi_bounds *bounds) {
    const uintptr_t cfa = state->sp + (uintptr_t)rule_cfa_offset(rule), link = state->link;
    if (link == 0 || cfa > bounds->high) return STEP_NOWHERE;
    const uintptr_t word = word_at(link);
    *state = (struct machine_state){
        .pc = machine_strip(word), .sp = cfa, .fp = state->fp, .address = link, .word = word, .link = 0};
    return STEP_DONE;
}

/*
 * The stack pointer of a caller that a frame pointer led to; 0 if it can't be known. The two words lie anywhere in the
 * frame that has them, so they tell nothing of its end. But the caller's own rule says where in its frame its frame
 * pointer points to, or that it doesn't need the stack pointer. Code without call frame information is a JIT
 * compiler's, and those put the two words at the frame's end.
 */
static uintptr_t sp_of_guessed(const struct machine_state *guessed, uintptr_t least, const struct cfi_bounds *bounds) {
    const uint64_t rule = rule_for(guessed->pc - 1, &local.scratch->cfi[local.level > 0 ? local.level - 1 : 0]);
    switch (rule_kind(rule)) {
        case RULE_SP: {
            if (!rule_saves_fp(rule)) return 0;
            uintptr_t sp = guessed->fp + rule_slot(rule) - (uintptr_t)rule_cfa_offset(rule);
            return sp >= least && sp % 16 == 0 ? sp : 0;
        }
        case RULE_GUESS:
            if (!loader_has_musl() || loader_guess(guessed->pc) == GUESS_NO_MODULE) return least;
            /* of libc's own frames only the outermost needs no stack pointer */
            return outermost_is(guessed->pc, least, bounds) ? least : 0;
        case RULE_FP:
        case RULE_END: return least;
        default: return 0;
    }
}

/* Steps by the frame pointer, if it leads to a return address. The register may hold anything, and in a function that
 * doesn't set it, it would skip the caller. */
static enum step step_by_guess(struct machine_state *state, const struct cfi_bounds *bounds) {
    const uintptr_t fp = state->fp;
    if (!readable(bounds, state->sp, fp + 8)) return STEP_NOWHERE;
    const uintptr_t word = word_at(fp + 8);
    struct machine_state guessed = {
        .pc = machine_strip(word), .fp = word_at(fp), .address = fp + 8, .word = word, .link = 0};
    if (!is_return_address(guessed.pc) || !is_own_caller(guessed.pc, state->pc, state->sp, fp)) return STEP_NOWHERE;
    guessed.sp = sp_of_guessed(&guessed, fp + 16, bounds);
    if (guessed.sp == 0 || guessed.sp > bounds->high) return STEP_NOWHERE;
    *state = guessed;
    return STEP_DONE;
}

enum step step(struct machine_state *state, uint64_t rule, struct cfi_bounds *bounds) {
    const uintptr_t sp = state->sp, fp = state->fp;
    switch (rule_kind(rule)) {
        case RULE_SP:
        case RULE_FP: return step_plainly(state, rule, bounds->high) ? STEP_DONE : STEP_NOWHERE;
        case RULE_LEAF: return step_out_of_leaf(state, rule, bounds);
        case RULE_SIGNAL: return step_out_of_signal(state, bounds);
        case RULE_GUESS:
            if (loader_has_musl() && outermost_is(state->pc, sp, bounds)) return STEP_END;
            /* Code without tables may have frame pointers: a JIT compiler's. A frame pointer of 0 marks the outermost
             * frame (AAPCS64, 6.4.6), which is in the loader's first instructions. In other code 0 is a value like any
             * other. */
            if (fp == 0) return loader_holds(state->pc) && !loader_has_musl() ? STEP_END : STEP_NOWHERE;
            if (fp < sp || fp - sp > GUESS_MOST || fp % 16 != 0) return STEP_NOWHERE;
            return step_by_guess(state, bounds);
        case RULE_END: return STEP_END;
        case RULE_INTERPRET: return STEP_INTERPRET;
        default: return STEP_NOWHERE;
    }
}

/* ---- Without a memo ---------------------------------------------------------------------------------- */

/* Captures the registers that calls preserve, for the interpreter, which starts right here. */
#define CAPTURE(registers) \
    __asm__ volatile("stp x19, x20, [%0, #152]\n\tstp x21, x22, [%0, #168]\n\tstp x23, x24, [%0, #184]\n\t" \
                     "stp x25, x26, [%0, #200]\n\tstp x27, x28, [%0, #216]\n\tstp x29, x30, [%0, #232]\n\t" \
                     "mov x16, sp\n\tadr x17, 0f\n0:\n\tstp x16, x17, [%0, #248]" \
                     : \
                     : "r"((registers)->values) \
                     : "x16", "x17", "memory")

/* A step where there is no row that says all: out of a signal handler, a stub, or code without tables. */
static enum step step_without_row(
    struct cfi_registers *registers, uint64_t rule, struct cfi_bounds *bounds, bool is_exact) {
    uint64_t *values = registers->values;
    const uintptr_t sp = values[DWARF_SP];
    struct machine_state state = {
        .pc = values[DWARF_PC], .sp = sp, .fp = values[DWARF_FP], .link = is_exact ? (uintptr_t)&values[DWARF_LR] : 0};
    rule = rule_measured(rule, &state, state.pc - !is_exact, bounds);
    if (rule_kind(rule) == RULE_LEAF) {
        if (!is_exact) return STEP_NOWHERE;
        values[DWARF_PC] = machine_strip(values[DWARF_LR]);
        values[DWARF_SP] = sp + (uintptr_t)rule_cfa_offset(rule);
        return STEP_DONE;
    }
    enum step result = step(&state, rule, bounds);
    if (result == STEP_EXACT) memcpy(values, (const void *)(sp + SIGNAL_FRAME_REGISTERS), sizeof registers->values);
    if (result == STEP_DONE) {
        values[DWARF_PC] = state.pc;
        values[DWARF_SP] = state.sp;
        values[DWARF_FP] = state.fp;
    }
    return result;
}

__attribute__((noinline)) void own_interpret(struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_registers registers = {0};
    CAPTURE(&registers);
    struct cfi_bounds bounds = bounds_of_stack(registers.values[DWARF_SP]);
    bool exact = true; /* the captured pc is an instruction, not a return address */
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        const uintptr_t pc = registers.values[DWARF_PC], sp = registers.values[DWARF_SP];
        pcs->values[pcs->count++] = (void *)(pc + exact);
        if (!cfi_find_row(pc - !exact, cfi) || cfi->row.is_signal_frame) {
            enum step result = step_without_row(&registers, rule_of_code(pc - !exact, cfi), &bounds, exact);
            pcs->complete = result == STEP_END;
            if (result != STEP_DONE && result != STEP_EXACT) break;
            exact = result == STEP_EXACT;
            continue;
        }
        const uint8_t kind = cfi->row.registers[cfi->row.return_register].kind;
        if (kind == CFI_UNDEFINED) {
            pcs->complete = true;
            break;
        }
        /* what is in x30 then is a return address of a function further in */
        if (!exact && (kind == CFI_UNSPECIFIED || kind == CFI_SAME)) break;
        if (!cfi_step(&cfi->row, &registers, bounds)) break;
        if (registers.values[DWARF_SP] < sp || (registers.values[DWARF_SP] == sp && !exact)) break;
        exact = false;
    }
}

void own_follow_frame_pointers(struct machine_state state, struct pcs *pcs) {
    struct cfi_bounds bounds = bounds_of_stack(state.sp);
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        pcs->values[pcs->count++] = (void *)state.pc;
        if (state.fp == 0) { /* the ABI's mark of the outermost frame */
            pcs->complete = true;
            break;
        }
        if (state.fp % 8 != 0 || state.fp < state.sp || !holds(bounds, state.fp) || !holds(bounds, state.fp + 8)) break;
        state = state_of_caller(machine_strip(word_at(state.fp + 8)), state.fp + 16, word_at(state.fp));
        if (state.pc == 0) {
            pcs->complete = true;
            break;
        }
        if (!is_return_address(state.pc)) break;
    }
}
