/*
 * The draws. The generator is SplitMix64 (Steele, Lea and Flood, 2014): one word of state, so a signal handler that
 * interrupts a draw can do no worse than repeat one.
 */
#include "threads/sample.h"

#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "image/image.h"

uint64_t sample_interval;

static uint64_t mix(uint64_t word) {
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
    word = (word ^ word >> 27) * 0x94D049BB133111EBu;
    return word ^ word >> 31;
}

#define GOLDEN 0x9E3779B97F4A7C15u /* 2^64 / the golden ratio */

/* -log2 of a uniform number in (0, 1), in units of 2^-48. Squaring doubles a number's logarithm, so the logarithm's
 * next bit is whether the square exceeds 2. */
static uint64_t exponent(uint64_t uniform) {
    uint32_t zeros = (uint32_t)__builtin_clzll(uniform);
    uint64_t number = uniform << zeros, fraction = 0; /* from 1 to below 2, in units of 2^-63 */
    for (int bit = 0; bit < 48; bit++) {
        unsigned __int128 square = (unsigned __int128)number * number >> 63;
        bool above = square >> 64 != 0;
        number = (uint64_t)(above ? square >> 1 : square);
        fraction = fraction << 1 | above;
    }
    return ((uint64_t)(zeros + 1) << 48) - fraction;
}

#define LN2 2977044472u /* in units of 2^-32 */

/* The bytes before the next drawn one: at most 45 intervals. Rounding down loses nothing: a rounded exponential number
 * is at least n exactly when the number itself is. */
static int64_t distance(uint64_t interval) {
    local.random += GOLDEN;
    unsigned __int128 nats = (unsigned __int128)exponent(mix(local.random) | 1) * LN2;
    return (int64_t)(nats * interval >> 80);
}

/* With glibc the countdown is checked before a hook is entered. Another allocator's functions may call each other
 * through us, so with it only the outermost hook checks the countdown. If failures are to be seen, no call passes
 * before a hook either. */
bool sample_is_early(void) { return next.is_glibc && !options.dump_at_failure; }

static int64_t *countdown(void) { return sample_is_early() ? &local.left : &local.left_inside; }

static void start_over(uint64_t interval) {
    int64_t first = distance(interval);
    *countdown() = first;
    local.first_left = first;
}

void sample_begin(uint32_t index) {
    const uint64_t interval = load_relaxed(&sample_interval);
    local.left = local.left_inside = local.first_left = 0;
    if (interval == 0) return;
    uint64_t seed = options.sample_seed != 0 ? options.sample_seed + (uint64_t)index * GOLDEN
                                             : system_nanoseconds(CLOCK_MONOTONIC) ^ (uint64_t)thread_id() << 40;
    local.random = mix(seed * GOLDEN + 1);
    start_over(interval);
}

bool sample_draws(size_t bytes) {
    if (sample_counts_down(countdown(), bytes + (bytes == 0))) return false;
    start_over(load_relaxed(&sample_interval));
    return true;
}
