/*
 * The rule cache: filled from call frame information, and emptied when modules change.
 */
#include "stacks/rules.h"

#include "base/atomics.h"
#include "stacks/modules.h"

_Alignas(64) uint64_t rule_cache[RULE_WAYS << RULE_SETS_LOG2];

/* The way for a new rule: an empty one, or a random one. */
static uint64_t *way_for(uint64_t mixed) {
    uint64_t *set = &rule_cache[(mixed >> (RULE_PC_BITS - RULE_SETS_LOG2)) * RULE_WAYS];
    for (uint32_t i = 0; i < RULE_WAYS; i++)
        if (load_relaxed(&set[i]) == 0) return &set[i];
    return &set[mixed % RULE_WAYS];
}

uint64_t rule_find(uintptr_t pc, struct cfi_space *space) {
    uint32_t generation = loader_generation();
    uint64_t rule = rule_of_code(pc, space);
    /* If a module was unloaded meanwhile, the rule is dropped. A guess for code outside of all modules is not kept: a
     * JIT compiler may put other code there. */
    if (rule_kind(rule) != RULE_GUESS || loader_start_of(pc) != 0) {
        uint64_t mixed = rule_mixed(pc), *way = way_for(mixed);
        store_relaxed(way, mixed << RULE_BITS | rule);
        fence_seq_cst(); /* partner: rules_renew's. The rule is seen there, or the change is seen here */
        if (loader_generation() != generation) store_relaxed(way, 0);
    }
    return rule;
}

void rule_keep(uintptr_t pc, uint64_t rule) {
    const uint64_t mixed = rule_mixed(pc), tag = mixed << RULE_BITS;
    uint64_t *set = &rule_cache[(mixed >> (RULE_PC_BITS - RULE_SETS_LOG2)) * RULE_WAYS], *way = way_for(mixed);
    for (uint32_t i = 0; i < RULE_WAYS; i++)
        if ((load_relaxed(&set[i]) ^ tag) >> RULE_BITS == 0) way = &set[i];
    store_relaxed(way, tag | rule);
}

uint32_t rules_generation = 1; /* loader_changes' first */

/* Two threads may do this at once: a rule that is forgotten needlessly is found again. */
void rules_renew(void) {
    uint32_t now = loader_generation();
    fence_seq_cst(); /* partner: rule_find's */
    for (size_t i = 0; i < sizeof rule_cache / sizeof rule_cache[0]; i++) store_relaxed(&rule_cache[i], 0);
    store_release(&rules_generation, now); /* partner: rules_check's acquire */
}
