/*
 * From a measured frame to its rule, on AArch64.
 */
#ifndef HEAPSUM_PROOF_AARCH64_H
#define HEAPSUM_PROOF_AARCH64_H

#include "stacks/measure.h"
#include "stacks/step.h"

static inline uintptr_t place_of_register(const struct machine_state *state) { return state->link; }

static uint64_t rule_for_place(
    const struct measured *measured, const struct machine_state *state, uintptr_t place, uintptr_t high) {
    const bool by_sp = measured->depth >= 0, is_pair = measured->saved != 0;
    const int64_t distance = 8 * (int64_t)(by_sp ? measured->depth : measured->fp);
    const uint64_t slot = 8 * (uint64_t)(is_pair ? measured->saved : measured->link);
    const uintptr_t cfa = (by_sp ? state->sp : state->fp) + (uintptr_t)distance;
    if (distance % 16 != 0 || distance > RULE_OFFSET_MOST || cfa % 16 != 0) return 0;
    if (measured->link == 0) /* still in x30 */
        return by_sp && !is_pair && place == state->link ? rule_make(RULE_LEAF, distance, 0, false) : 0;
    if (cfa > high || cfa - 8 * (uintptr_t)measured->link != place) return 0;
    if (is_pair && (measured->saved != measured->link + 1 || slot % 16 != 0)) return 0;
    if (slot >= (is_pair ? 16u : 8u) << RULE_SLOT_BITS) return 0;
    return rule_make(by_sp ? RULE_SP : RULE_FP, distance, slot, is_pair);
}

#endif
