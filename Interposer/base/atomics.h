/*
 * Atomic operations with their memory order in their names. They work on plain integers, because Swift imports the
 * image's fields too. A comment at each use that is not relaxed names its partner.
 */
#ifndef HEAPSUM_ATOMICS_H
#define HEAPSUM_ATOMICS_H

#include "base/machine.h" /* add_alone */

#define load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define swap_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)

/* Compare and swap: on failure `*expected` receives the current value. On success it releases what the new value names;
 * it acquires in both cases. */
#define cas_acq_rel(p, expected, v) \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define cas_relaxed(p, expected, v) \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

/* Orders this thread's earlier stores before its later loads, against another thread that does the reverse. */
#define fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* Fixes the order of stores in the image of a killed program: a kill falls between two instructions, so only the
 * compiler's order counts. */
#define fence_compiler() __atomic_signal_fence(__ATOMIC_SEQ_CST)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
