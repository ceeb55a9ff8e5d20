/*
 * The arithmetic of sampled images: what a recorded block counts for. A part of the image's format (heap_image.h), for
 * C and Swift.
 *
 * In a sampled image each allocated byte had the same probability of being drawn, 1 / `sample_interval`. A block is in
 * the image if one of its bytes was drawn: with the probability 1 - exp(-bytes / interval). A block of 0 bytes is drawn
 * like one of 1 byte. So a recorded block stands for 1 / probability blocks of its size, and any sum of what blocks
 * stand for is an unbiased estimate of the same sum over all blocks (Horvitz and Thompson).
 *
 * Slots, events, blocks and reallocations in flight have the requested bytes. All counts have what the blocks stand
 * for: the counters, levels and lifetimes of stacks, the timeline, and the header's live and peak sums. There bytes are
 * bytes, and blocks are in units of 1 / HEAP_SAMPLE_BLOCK, because a block may stand for 1.58 blocks. Losses count
 * sampled blocks.
 *
 * All arithmetic is in integers: the recorder may use nothing else, and a reader must compute exactly the same numbers.
 */
#ifndef HEAP_SAMPLING_H
#define HEAP_SAMPLING_H

#include <stdint.h>

#define HEAP_SAMPLE_MOST (1ull << 30)
#define HEAP_SAMPLE_BLOCK_LOG2 10
#define HEAP_SAMPLE_BLOCK (1ull << HEAP_SAMPLE_BLOCK_LOG2)
#define HEAP_SAMPLE_SCALE_LOG2 20
#define HEAP_SAMPLE_ONE (1ull << 62)

static inline uint64_t heap_sample_product(uint64_t one, uint64_t other) {
    return (uint64_t)((unsigned __int128)one * other >> 62);
}

/* The probability that a block was sampled, in units of 1 / HEAP_SAMPLE_ONE; never 0. `interval` is from 1 to
 * HEAP_SAMPLE_MOST. Right to 1 part in 2^30. */
static inline uint64_t heap_sample_chance(uint64_t bytes, uint64_t interval) {
    if (bytes == 0) bytes = 1;
    uint64_t whole = bytes / interval, rest = bytes % interval;
    if (whole >= 44) return HEAP_SAMPLE_ONE; /* exp(-44) is below the unit */
    uint64_t high = (rest << 32) / interval, low = ((rest << 32) % interval << 30) / interval;
    /* Halve the ratio until a short series is enough, and double the result as often: 1 - exp(-2x) = q (2 - q). */
    uint32_t halvings = whole == 0 ? 0 : 6;
    uint64_t ratio = (whole << (62 - 6)) + ((high << 30 | low) >> halvings);
    for (; ratio >> 57 != 0; ratio >>= 1) halvings++;
    uint64_t series = HEAP_SAMPLE_ONE;
    for (uint32_t n = 9; n >= 2; n--) series = HEAP_SAMPLE_ONE - heap_sample_product(ratio, series) / n;
    uint64_t chance = heap_sample_product(ratio, series);
    for (; halvings > 0; halvings--) chance = 2 * chance - heap_sample_product(chance, chance);
    return chance;
}

/* How many blocks a sampled block stands for, in units of 1 / 2^HEAP_SAMPLE_SCALE_LOG2. */
static inline uint64_t heap_sample_scale(uint64_t bytes, uint64_t interval) {
    uint64_t chance = heap_sample_chance(bytes, interval);
    uint32_t shift = (uint32_t)__builtin_clzll(chance) - 1;       /* at most 31: the chance is above 1 in 2^31 */
    uint64_t reciprocal = (1ull << 63) / (chance << shift >> 31); /* 2^94 / (chance << shift), of 32 to 33 bits */
    return shift >= 12 ? reciprocal << (shift - 12) : (reciprocal + (1ull << (11 - shift))) >> (12 - shift);
}

/* The bytes that a block counts for; `interval` is the header's. If that is 0, the block counts for its own bytes. */
static inline uint64_t heap_counted_bytes(uint64_t bytes, uint64_t interval) {
    if (interval == 0 || bytes / interval >= 44) return bytes;
    uint64_t above = heap_sample_scale(bytes, interval) - (1ull << HEAP_SAMPLE_SCALE_LOG2);
    return bytes + ((bytes * above + (1ull << (HEAP_SAMPLE_SCALE_LOG2 - 1))) >> HEAP_SAMPLE_SCALE_LOG2);
}

/* The blocks that it counts for: 1 if `interval` is 0, else in units of 1 / HEAP_SAMPLE_BLOCK. */
static inline uint64_t heap_counted_blocks(uint64_t bytes, uint64_t interval) {
    if (interval == 0) return 1;
    const uint32_t shift = HEAP_SAMPLE_SCALE_LOG2 - HEAP_SAMPLE_BLOCK_LOG2;
    return (heap_sample_scale(bytes, interval) + (1ull << (shift - 1))) >> shift;
}

#endif
