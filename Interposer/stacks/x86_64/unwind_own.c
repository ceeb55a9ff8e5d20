/*
 * Our own unwinder for x86-64, without its memo: a step from frame to frame by each kind of rule, and the walks by the
 * interpreter and by frame pointers.
 */
#include "stacks/unwind_own.h"

#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "image/image.h"
#include "stacks/outermost.h"
#include "stacks/return_address.h"
#include "stacks/rules.h"
#include "stacks/tree.h"
#include "stacks/unwind.h"
#include "threads/hook.h"

/* Whether a word may be read while the innermost frame's stack pointer is `sp`. */
static inline bool readable(const struct cfi_bounds *bounds, uintptr_t sp, uintptr_t address) {
    return address + RED_ZONE >= sp && address <= bounds->high - 8;
}

/* Steps to the caller, by its CFA and the slot where its rbp was saved. The CFA must be above the stack pointer,
 * aligned, and within the stack; else the rules or the stack are wrong. */
static enum step step_to(struct machine_state *state, uintptr_t cfa, uintptr_t slot, const struct cfi_bounds *bounds) {
    if (cfa <= state->sp || cfa % 8 != 0 || cfa > bounds->high || !readable(bounds, state->sp, slot))
        return STEP_NOWHERE;
    *state = (struct machine_state){word_at(cfa - 8), cfa, word_at(slot)};
    return STEP_DONE;
}

static enum step step_out_of_signal(struct machine_state *state, struct cfi_bounds *bounds) {
    uintptr_t sp = state->sp;
    if (!readable(bounds, sp, sp + SIGNAL_FRAME_PC)) return STEP_NOWHERE;
    *state = (struct machine_state){
        word_at(sp + SIGNAL_FRAME_PC), word_at(sp + SIGNAL_FRAME_SP), word_at(sp + SIGNAL_FRAME_FP)};
    if (!holds(*bounds, state->sp)) *bounds = bounds_of_stack(state->sp); /* the handler ran on its own stack */
    return state->sp % 8 == 0 ? STEP_EXACT : STEP_NOWHERE;
}

/* Steps by the frame pointer, if it leads to a return address. The register may hold anything, and in a function that
 * doesn't set it, it would skip the caller. */
static enum step step_by_guess(struct machine_state *state, const struct cfi_bounds *bounds) {
    struct machine_state guessed = *state;
    enum step result = step_to(&guessed, state->fp + 16, state->fp, bounds);
    if (result != STEP_DONE || !is_return_address(guessed.pc)
        || !is_own_caller(guessed.pc, state->pc, state->sp, state->fp))
        return STEP_NOWHERE;
    *state = guessed;
    return result;
}

enum step step(struct machine_state *state, uint64_t rule, struct cfi_bounds *bounds) {
    const uintptr_t sp = state->sp, fp = state->fp;
    switch (rule_kind(rule)) {
        case RULE_SP:
        case RULE_FP: return step_plainly(state, rule, bounds->high) ? STEP_DONE : STEP_NOWHERE;
        case RULE_REALIGNED: {
            uintptr_t slot = fp + (uintptr_t)rule_cfa_offset(rule);
            if (!readable(bounds, sp, slot)) return STEP_NOWHERE;
            uintptr_t cfa = word_at(slot);
            return cfa > fp ? step_to(state, cfa, fp, bounds) : STEP_NOWHERE; /* rbp points to the caller's rbp */
        }
        case RULE_SIGNAL: return step_out_of_signal(state, bounds);
        case RULE_GUESS:
            if (loader_has_musl() && outermost_is(state->pc, sp, bounds)) return STEP_END;
            /* Code without tables may have frame pointers: a JIT compiler's code, Swift's leaf functions. A frame
             * pointer of 0 marks the outermost frame (System V ABI, AMD64, 3.4.1), which is in the loader's first
             * instructions. In other code 0 is a value like any other. */
            if (fp == 0) return loader_holds(state->pc) && !loader_has_musl() ? STEP_END : STEP_NOWHERE;
            if (fp < sp || fp - sp > GUESS_MOST || fp % 8 != 0) return STEP_NOWHERE;
            return step_by_guess(state, bounds);
        case RULE_END: return STEP_END;
        case RULE_INTERPRET: return STEP_INTERPRET;
        default: return STEP_NOWHERE;
    }
}

/* ---- Without a memo ---------------------------------------------------------------------------------- */

/* Captures the registers that calls preserve, for the interpreter, which starts right here. */
#define CAPTURE(registers) \
    __asm__ volatile("movq %%rbx, 24(%0)\n\tmovq %%rbp, 48(%0)\n\tmovq %%rsp, 56(%0)\n\t" \
                     "movq %%r12, 96(%0)\n\tmovq %%r13, 104(%0)\n\tmovq %%r14, 112(%0)\n\tmovq %%r15, 120(%0)\n\t" \
                     "leaq 0f(%%rip), %%rax\n0:\n\tmovq %%rax, 128(%0)" \
                     : \
                     : "r"((registers)->values) \
                     : "rax", "memory")

__attribute__((noinline)) void own_interpret(struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_registers registers = {0};
    CAPTURE(&registers);
    struct cfi_bounds bounds = bounds_of_stack(registers.values[7]);
    bool exact = true; /* the captured pc is an instruction, not a return address */
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        uintptr_t pc = registers.values[16], sp = registers.values[7];
        pcs->values[pcs->count++] = (void *)(pc + exact);
        if (!cfi_find_row(pc - !exact, cfi)) {
            struct machine_state state = {pc, sp, registers.values[6]};
            enum step result = step(&state, rule_measured(rule_guess(), &state, pc - !exact, &bounds), &bounds);
            pcs->complete = result == STEP_END;
            if (result != STEP_DONE) break;
            exact = false;
            registers.values[16] = state.pc;
            registers.values[7] = state.sp;
            registers.values[6] = state.fp;
            continue;
        }
        if (cfi->row.registers[cfi->row.return_register].kind == CFI_UNDEFINED) {
            pcs->complete = true;
            break;
        }
        if (!cfi_step(&cfi->row, &registers, bounds)) break;
        exact = cfi->row.is_signal_frame;
        if (exact && !holds(bounds, registers.values[7])) bounds = bounds_of_stack(registers.values[7]);
        else if (registers.values[7] <= sp) break;
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
        state = own_caller((struct machine_frame){state.fp});
        if (state.pc == 0) {
            pcs->complete = true;
            break;
        }
        if (!is_return_address(state.pc)) break;
    }
}
