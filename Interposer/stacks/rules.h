/*
 * The rule cache: for each pc, one word that says how to step to the caller.
 */
#ifndef HEAPSUM_RULES_H
#define HEAPSUM_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/machine.h"
#include "stacks/cfi.h"

enum rule_kind {
    RULE_NONE = 0, /* nowhere to go: the stack is cut */
    RULE_SP,       /* CFA = stack pointer + offset */
    RULE_FP,       /* CFA = frame pointer + offset */
    RULE_OWN,      /* the architecture's own kind: one of the next two */
    /* x86-64: CFA = the word at frame pointer + offset, after a prologue that realigned the stack; the caller's frame
     * pointer is saved where the frame pointer points */
    RULE_REALIGNED = RULE_OWN,
    RULE_LEAF = RULE_OWN, /* AArch64: CFA = stack pointer + offset; the return address is in the link register */
    RULE_SIGNAL,          /* a signal handler's return: the interrupted registers are in the kernel's ucontext */
    RULE_END,             /* the outermost frame */
    RULE_INTERPRET,       /* anything else: by the full interpreter */
    RULE_GUESS,           /* no call frame information: the frame pointer is followed if it looks like one */
};

static inline enum rule_kind rule_kind(uint64_t rule) { return (enum rule_kind)(rule & 7); }

/* A rule lies in the low RULE_BITS of a word. Whoever stores the word uses the bits above. */
#if defined(__x86_64__)
#include "stacks/x86_64/rule.h"
#elif defined(__aarch64__)
#include "stacks/aarch64/rule.h"
#endif

/*
 * The cache has 65,536 rules in sets of four: 512 KB of private memory, because the rules are this process's only (64
 * KB thrashed with a compiler). A pc has 48 bits, which a bijection mixes. 14 of the mixed bits choose the set; the
 * other 34 are the tag above the rule. So a hit is exact. A word is read and written as a whole, so no lock is needed.
 */
#define RULE_SETS_LOG2 14
#define RULE_WAYS 4
#define RULE_PC_BITS 48
extern HIDDEN uint64_t rule_cache[RULE_WAYS << RULE_SETS_LOG2];

static inline uint64_t rule_mixed(uintptr_t pc) { /* odd, so that the product modulo 2^48 is a bijection */
    return (uint64_t)pc * 0x9E3779B97F4Bull & ((1ull << RULE_PC_BITS) - 1);
}

/* Makes a rule from .eh_frame, or without it from the code. `space` is work space. No allocation, no lock. Whatever the
 * tables hold, the rule is a valid one. */
uint64_t rule_of_code(uintptr_t pc, struct cfi_space *space);

/* Makes the rule and caches it. `space` is work space. No allocation, no lock. */
uint64_t rule_find(uintptr_t pc, struct cfi_space *space);

/* The rule that the cache has for the instruction at `pc`; 0: none. */
static inline uint64_t rule_cached(uintptr_t pc) {
    const uint64_t mixed = rule_mixed(pc);
    const uint64_t *set = &rule_cache[(mixed >> (RULE_PC_BITS - RULE_SETS_LOG2)) * RULE_WAYS];
    const uint64_t tag = mixed << RULE_BITS; /* the bits that chose the set are shifted out at the top */
    for (uint32_t i = 0; i < RULE_WAYS; i++) {
        const uint64_t word = load_relaxed(&set[i]);
        if (likely((word ^ tag) >> RULE_BITS == 0) && likely(word != 0)) return word;
    }
    return 0;
}

/* The rule for the instruction at `pc`: one byte back from a return address. */
static inline uint64_t rule_for(uintptr_t pc, struct cfi_space *space) {
    const uint64_t rule = rule_cached(pc);
    return likely(rule != 0) ? rule : rule_find(pc, space);
}

/* Puts a rule into the cache, in the place of another one for the same instruction. Only for modules that are never
 * unloaded. */
void rule_keep(uintptr_t pc, uint64_t rule);

/* A guessed frame pointer must not be further above the stack pointer than this. */
#define GUESS_MOST 0x4000

/* Forgets all rules if a module was unloaded since they were found. Called before each walk that steps by rules. Costs
 * one load if no module was unloaded. */
extern HIDDEN uint32_t rules_generation;
void rules_renew(void);
static inline void rules_check(void) {
    /* partner: rules_renew's release */
    if (unlikely(load_acquire(&rules_generation) != loader_generation())) rules_renew();
}

#endif
