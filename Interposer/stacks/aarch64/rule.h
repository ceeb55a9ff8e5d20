/*
 * A rule on AArch64, in the low bits of a word.
 *
 *     63      27 26          14   13   12       3 2    0
 *    +----------+--------------+------+----------+------+
 *    |          | offset/16  13| pair | slot   10| kind |
 *    +----------+--------------+------+----------+------+
 *
 * A call puts the return address into x30, and the function saves it where it likes. Nearly always it is saved together
 * with the caller's frame pointer: then `pair` is 1, x29 lies at CFA - 16 * slot, and x30 above it. Else x29 is
 * unchanged, and x30 lies at CFA - 8 * slot. The CFA is a multiple of 16, like the stack pointer. Offsets up to 128 KB
 * fit, and slots up to 16 KB and 8 KB below the CFA. Other rules are left to the interpreter.
 */
#ifndef HEAPSUM_RULE_AARCH64_H
#define HEAPSUM_RULE_AARCH64_H

#define RULE_OFFSET_BITS 13
#define RULE_OFFSET_SHIFT 14
#define RULE_OFFSET_MOST (16 * ((1 << RULE_OFFSET_BITS) - 1))
#define RULE_SLOT_SHIFT 3
#define RULE_SLOT_BITS 10
#define RULE_PAIR_SHIFT 13
#define RULE_BITS (RULE_OFFSET_SHIFT + RULE_OFFSET_BITS)

/* `slot`: how far below the CFA the pair lies, or x30 alone; a multiple of 16 for a pair, else of 8; 0: nowhere. */
static inline uint64_t rule_make(enum rule_kind kind, int64_t cfa_offset, uint64_t slot, bool is_pair) {
    return (uint64_t)kind | slot >> (RULE_SLOT_SHIFT + is_pair) << RULE_SLOT_SHIFT
        | (uint64_t)is_pair << RULE_PAIR_SHIFT | (uint64_t)cfa_offset / 16 << RULE_OFFSET_SHIFT;
}
static inline bool rule_saves_fp(uint64_t rule) { return rule >> RULE_PAIR_SHIFT & 1; }
static inline uint64_t rule_slot(uint64_t rule) {
    return (rule >> RULE_SLOT_SHIFT & ((1u << RULE_SLOT_BITS) - 1)) << (3 + rule_saves_fp(rule));
}
/* Where the caller's frame pointer is saved, below the CFA; if rule_saves_fp. */
static inline uint64_t rule_saved_fp(uint64_t rule) { return rule_slot(rule); }
static inline int64_t rule_cfa_offset(uint64_t rule) {
    return (int64_t)(rule >> RULE_OFFSET_SHIFT & ((1u << RULE_OFFSET_BITS) - 1)) * 16;
}

/* The rule of code that has no caller: the outermost frame. */
static inline uint64_t rule_end(void) { return rule_make(RULE_END, 0, 0, false); }

/* The rule of code without call frame information: a frame that the frame pointer leads to. */
static inline uint64_t rule_guess(void) { return rule_make(RULE_GUESS, 16, 16, true); }

#endif
