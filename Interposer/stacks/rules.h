/*
 * The rule cache: for a pc, one word that says how to step to the caller.
 */
#ifndef HEAPSUM_RULES_H
#define HEAPSUM_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "atomics.h"
#include "cfi.h"

enum rule_kind {
    RULE_NONE = 0,  /* nowhere to go: the stack is cut */
    RULE_RSP,       /* CFA = rsp + offset */
    RULE_RBP,       /* CFA = rbp + offset */
    RULE_REALIGNED, /* CFA = the word at rbp + offset: a prologue that realigned the stack; rbp is saved where it points */
    RULE_SIGNAL,    /* a signal handler's return: the interrupted registers lie in the kernel's ucontext */
    RULE_END,       /* the outermost frame */
    RULE_INTERPRET, /* anything else: by the full interpreter */
    RULE_GUESS,     /* no call frame information: rbp is taken for a frame pointer where it looks like one */
};

/* Unpacked from the cache's word. Units: bytes. The return address lies at CFA - 8 but for RULE_SIGNAL. */
struct rule {
    enum rule_kind kind;
    int32_t cfa_offset;
    uint32_t saved_fp; /* the caller's rbp lies at CFA - saved_fp; 0: in rbp still */
};

/* Where the kernel leaves registers above the stack pointer of a signal frame's return (struct ucontext_t, x86-64). */
#define SIGNAL_FRAME_RBP 120
#define SIGNAL_FRAME_RSP 160
#define SIGNAL_FRAME_RIP 168

/*
 * The cache: 65,536 words in sets of four: 512 KB, private memory, as only this process's rules are in it (64 KB
 * thrashed on a compiler).
 *
 *     63          30 29   27 26        17 16         0
 *    +--------------+-------+------------+------------+
 *    | tag  34      | kind 3| fp / 8  10 | offset/8 17|
 *    +--------------+-------+------------+------------+
 *
 * A pc has 48 bits. They are mixed by a bijection, of which 14 bits choose the set and the other 34 are the tag: so a
 * hit is exact and needs no confirmation. Words are read and written whole, so nobody needs a lock.
 *
 * Offsets up to 512 KB fit, and saved frame pointers within 8 KB of the CFA; the rest is interpreted.
 */
#define RULE_SETS_LOG2 14
#define RULE_WAYS 4
#define RULE_OFFSET_BITS 17
#define RULE_FP_BITS 10
#define RULE_TAG_SHIFT 30
#define RULE_PC_BITS 48
extern uint64_t rule_cache[RULE_WAYS << RULE_SETS_LOG2];

static inline uint64_t rule_mixed(uintptr_t pc) { /* odd, so that the product modulo 2^48 is a bijection */
    return (uint64_t)pc * 0x9E3779B97F4Bull & ((1ull << RULE_PC_BITS) - 1);
}

static inline struct rule rule_unpack(uint64_t word) {
    int32_t offset = (int32_t)((uint32_t)word << (32 - RULE_OFFSET_BITS)) >> (32 - RULE_OFFSET_BITS);
    return (struct rule){(enum rule_kind)(word >> (RULE_OFFSET_BITS + RULE_FP_BITS) & 7), offset * 8, (uint32_t)(word >> RULE_OFFSET_BITS & ((1u << RULE_FP_BITS) - 1)) * 8};
}

/* Makes the rule from .eh_frame, and remembers it. `space` is work space. No allocation, no lock. */
struct rule rule_make(uintptr_t pc, struct cfi_space *space);

/* The rule for the instruction at `pc`: one byte back from a return address. */
static inline struct rule rule_for(uintptr_t pc, struct cfi_space *space) {
    uint64_t mixed = rule_mixed(pc);
    const uint64_t *set = &rule_cache[(mixed >> (RULE_PC_BITS - RULE_SETS_LOG2)) * RULE_WAYS];
    uint64_t tag = mixed << RULE_TAG_SHIFT; /* the bits that chose the set fall off at the top */
    for (uint32_t i = 0; i < RULE_WAYS; i++) {
        uint64_t word = load_relaxed(&set[i]);
        if (likely((word ^ tag) >> RULE_TAG_SHIFT == 0) && likely(word != 0)) return rule_unpack(word);
    }
    return rule_make(pc, space);
}

/* A guessed frame pointer lies no further above the stack pointer than this. */
#define GUESS_MOST 0x4000

/* A module went: all rules are forgotten. */
void rules_forget(void);

#endif
