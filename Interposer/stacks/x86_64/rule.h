/*
 * A rule on x86-64, in the low bits of a word.
 *
 *     63      27 26            13 12       3 2    0
 *    +----------+----------------+----------+------+
 *    |          | offset/8+64  14| fp / 8 10| kind |
 *    +----------+----------------+----------+------+
 *
 * The return address is at CFA - 8, except for RULE_SIGNAL. The caller's frame pointer is at CFA - fp; an fp of 8, the
 * place of the return address, means that the frame pointer is unchanged. Offsets from -512 to 127 KB fit, and saved
 * frame pointers within 8 KB of the CFA. Other rules are left to the interpreter.
 */
#ifndef HEAPSUM_RULE_X86_64_H
#define HEAPSUM_RULE_X86_64_H

#define RULE_OFFSET_BITS 14
#define RULE_OFFSET_SHIFT 13
#define RULE_OFFSET_LEAST (-512)
#define RULE_OFFSET_MOST (RULE_OFFSET_LEAST + 8 * ((1 << RULE_OFFSET_BITS) - 1))
#define RULE_FP_MASK 0x1FF8u
#define RULE_FP_NOT_SAVED 8u
#define RULE_BITS (RULE_OFFSET_SHIFT + RULE_OFFSET_BITS)

static inline uint64_t rule_make(enum rule_kind kind, int64_t cfa_offset, uint32_t saved_fp) {
    return (uint64_t)kind | (saved_fp != 0 ? saved_fp : RULE_FP_NOT_SAVED)
        | (uint64_t)(cfa_offset - RULE_OFFSET_LEAST) / 8 << RULE_OFFSET_SHIFT;
}
static inline uint32_t rule_saved_fp(uint64_t rule) { return (uint32_t)rule & RULE_FP_MASK; }
static inline bool rule_saves_fp(uint64_t rule) { return rule_saved_fp(rule) != RULE_FP_NOT_SAVED; }
static inline int64_t rule_cfa_offset(uint64_t rule) {
    return (int64_t)(rule >> RULE_OFFSET_SHIFT & ((1u << RULE_OFFSET_BITS) - 1)) * 8 + RULE_OFFSET_LEAST;
}

/* The rule of code that has no caller: the outermost frame. */
static inline uint64_t rule_end(void) { return rule_make(RULE_END, 0, 0); }

/* The rule of code without call frame information: a frame that the frame pointer leads to. */
static inline uint64_t rule_guess(void) { return rule_make(RULE_GUESS, 16, 16); }

#endif
