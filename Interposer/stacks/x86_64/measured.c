/*
 * Proved rules for code without call frame information. Nothing says where such a function begins: a static one has no
 * name. But a return address on the stack says which function its call calls. That function's instructions then say
 * where its return address is, seen from the pc. If it is just there, the function is the one that contains the pc, and
 * both are proved. A word that is left over from an earlier call would have to lie at just this place.
 */
#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"
#include "base/system.h"
#include "include/heap_image.h"
#include "stacks/cfi.h"
#include "stacks/outermost.h"
#include "stacks/return_address.h"
#include "stacks/step.h"
#include "stacks/x86_64/measure.h"
#include "stacks/x86_64/tries.h"

/* For a pc that can't be proved: how often that was tried. A pointer may have called its function, and another call may
 * say more. */
#define TRIES 8
static struct tries failed;

/* The rule of a frame whose return address is at `place`; 0 if the measured function has it elsewhere. */
static uint64_t rule_for_place(
    const struct measured *measured, const struct machine_state *state, uintptr_t place, uintptr_t high) {
    const bool by_sp = measured->depth >= 0;
    const int64_t distance = 8 * (int64_t)(by_sp ? measured->depth : measured->fp);
    const uint32_t saved = 8 * (uint32_t)measured->saved;
    if ((by_sp ? state->sp : state->fp) + (uintptr_t)distance != place) return 0;
    if (distance + 8 > RULE_OFFSET_MOST || saved > RULE_FP_MASK || place > high - 8) return 0;
    return rule_make(by_sp ? RULE_SP : RULE_FP, distance + 8, saved);
}

/* The stack holds many words that are no return addresses. To ask first whether a call precedes them costs one system
 * call; a search of the modules costs dozens. */
static uint64_t prove(const struct machine_state *state, bool is_return, const struct cfi_bounds *bounds) {
    if (!system_may_look()) return 0; /* words that lead nowhere could not be told from others */
    bool is_beyond = false;
    for (uintptr_t place = state->sp; place < state->sp + GUESS_MOST && holds(*bounds, place); place += 8) {
        /* What lies above the thread's first call may be another's, who may unmap it. The word may also be left over
         * from an earlier look at the first call. */
        uintptr_t word;
        if (!is_beyond && (place % HEAP_PAGE_BYTES != 0 || memory_is_readable(place))) word = word_at(place);
        else if (!memory_fetch(&word, place, sizeof word)) return 0;
        is_beyond |= outermost_is_first_call(word);
        if (is_no_code(word, bounds)) continue;
        const uintptr_t start = called_function(word);
        if (start == 0 || loader_guess(word) != GUESS_CODE || !is_return_address(word)) continue;
        if (loader_guess(start) != GUESS_CODE || cfi_has_entry(start)) continue;
        struct measured measured;
        if (!measure_frame(start, state->pc, is_return, &measured)) continue;
        const uint64_t rule = rule_for_place(&measured, state, place, bounds->high);
        if (rule != 0) return rule;
    }
    return 0;
}

uint64_t rule_measured(
    uint64_t rule, const struct machine_state *state, uintptr_t key, const struct cfi_bounds *bounds) {
    if (rule_kind(rule) != RULE_GUESS || !loader_has_musl() || state->sp % 8 != 0) return rule;
    const uint64_t known = rule_cached(key);
    if (known != 0 && rule_kind(known) != RULE_GUESS) return known & ((1ull << RULE_BITS) - 1);
    const uint64_t tries = tries_of(&failed, key);
    if (tries == TRIES || loader_guess(key) != GUESS_CODE) return rule;
    const uint64_t proved = prove(state, key != state->pc, bounds);
    if (proved != 0) rule_keep(key, proved);
    else tries_set(&failed, key, tries + 1);
    return proved != 0 ? proved : rule;
}
