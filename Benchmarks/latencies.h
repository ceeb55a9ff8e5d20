/*
 * How long calls took: a histogram of nanoseconds with 64 steps an octave, so a percentile is right to 2 %, and the
 * longest to the nanosecond. Its memory is touched before it is used, so that recording a call never faults a page in.
 */
#ifndef LATENCIES_H
#define LATENCIES_H

#include <stdint.h>
#include <string.h>
#include <time.h>

#define LATENCY_STEPS (64 * 59)

struct latencies {
    uint64_t counts[LATENCY_STEPS], total, longest;
};

static inline uint64_t nanoseconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Zero, with its pages in memory. */
static inline void latencies_clear(struct latencies *all) {
    memset(all, 1, sizeof *all);
    memset(all, 0, sizeof *all);
}

static inline void latencies_add(struct latencies *all, uint64_t nanoseconds) {
    unsigned octave = nanoseconds < 64 ? 0 : 58 - (unsigned)__builtin_clzll(nanoseconds);
    all->counts[octave == 0 ? nanoseconds : octave * 64 + (nanoseconds >> (octave - 1) & 63)]++;
    all->total++;
    if (nanoseconds > all->longest) all->longest = nanoseconds;
}

static inline void latencies_merge(struct latencies *all, const struct latencies *more) {
    for (unsigned i = 0; i < LATENCY_STEPS; i++) all->counts[i] += more->counts[i];
    all->total += more->total;
    if (more->longest > all->longest) all->longest = more->longest;
}

/* Nanoseconds that all but one call in `of` stayed below. */
static inline uint64_t latencies_but_one_in(const struct latencies *all, uint64_t of) {
    uint64_t above = all->total / of;
    for (unsigned i = LATENCY_STEPS; i-- > 0;) {
        if (all->counts[i] > above) return i < 64 ? i : ((uint64_t)(i % 64) + 64) << (i / 64 - 1);
        above -= all->counts[i];
    }
    return 0;
}

#endif
