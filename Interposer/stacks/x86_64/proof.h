/*
 * From a measured frame to its rule, on x86-64.
 */
#ifndef HEAPSUM_PROOF_X86_64_H
#define HEAPSUM_PROOF_X86_64_H

#include "stacks/measure.h"
#include "stacks/step.h"

static inline uintptr_t place_of_register(const struct machine_state *state) {
    (void)state;
    return 0;
}

static uint64_t rule_for_place(
    const struct measured *measured, const struct machine_state *state, uintptr_t place, uintptr_t high) {
    const bool by_sp = measured->depth >= 0;
    const int64_t distance = 8 * (int64_t)(by_sp ? measured->depth : measured->fp);
    const uint32_t saved = 8 * (uint32_t)measured->saved;
    if ((by_sp ? state->sp : state->fp) + (uintptr_t)distance != place) return 0;
    if (distance + 8 > RULE_OFFSET_MOST || saved > RULE_FP_MASK || place > high - 8) return 0;
    return rule_make(by_sp ? RULE_SP : RULE_FP, distance + 8, saved);
}

#endif
