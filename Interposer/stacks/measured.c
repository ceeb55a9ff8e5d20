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
#include "stacks/measure.h"
#include "stacks/outermost.h"
#include "stacks/return_address.h"
#include "stacks/step.h"
#include "stacks/tries.h"

/* rule_for_place(): the rule of a frame whose return address is at a place; 0 if the measured function has it
 * elsewhere. place_of_register(): where the kernel has put the register that holds a leaf's return address. */
#if defined(__x86_64__)
#include "stacks/x86_64/proof.h"
#elif defined(__aarch64__)
#include "stacks/aarch64/proof.h"
#endif

/* For a pc that can't be proved: how often that was tried. A pointer may have called its function, and another call may
 * say more. */
#define TRIES 8
static struct tries failed;

/* The rule, if the word at `place` is the return address of a call of the function that contains the pc. */
static uint64_t rule_by_word(const struct machine_state *state, bool is_return, uintptr_t place, uintptr_t word,
    const struct cfi_bounds *bounds) {
    const uintptr_t back = machine_strip(word);
    if (is_no_code(back, bounds)) return 0;
    const uintptr_t start = called_function(back);
    if (start == 0 || loader_guess(back) != GUESS_CODE || !is_return_address(back)) return 0;
    if (loader_guess(start) != GUESS_CODE || cfi_has_entry(start)) return 0;
    struct measured measured;
    if (!measure_frame(start, state->pc, is_return, &measured)) return 0;
    return rule_for_place(&measured, state, place, bounds->high);
}

/* The stack holds many words that are no return addresses. To ask first whether a call precedes them costs one system
 * call; a search of the modules costs dozens. */
static uint64_t prove(const struct machine_state *state, bool is_return, const struct cfi_bounds *bounds) {
    if (!system_may_look()) return 0; /* words that lead nowhere could not be told from others */
    const uintptr_t in_register = place_of_register(state);
    if (in_register != 0) {
        const uint64_t rule = rule_by_word(state, is_return, in_register, word_at(in_register), bounds);
        if (rule != 0) return rule;
    }
    bool is_beyond = false;
    for (uintptr_t place = state->sp; place < state->sp + GUESS_MOST && holds(*bounds, place); place += 8) {
        /* What lies above the thread's first call may be another's, who may unmap it. The word may also be left over
         * from an earlier look at the first call. */
        uintptr_t word;
        if (!is_beyond && (place % HEAP_PAGE_BYTES != 0 || memory_is_readable(place))) word = word_at(place);
        else if (!memory_fetch(&word, place, sizeof word)) return 0;
        is_beyond |= outermost_is_first_call(machine_strip(word));
        const uint64_t rule = rule_by_word(state, is_return, place, word, bounds);
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
