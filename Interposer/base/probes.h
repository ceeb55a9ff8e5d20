/*
 * Probes for tracers (USDT): otel_memory:alloc(ptr, size, weight) and otel_memory:free(ptr), as OpenTelemetry's eBPF
 * profiler expects them (opentelemetry-ebpf-profiler, design-docs/00003-memory-profiling). A tracer finds them in the
 * library's section .note.stapsdt. They fire for each block that is booked: in a sampled recording for those drawn.
 *
 * A probe is one nop in a function of its own. The kernel counts its tracers in the probe's semaphore. While that is 0,
 * a probe costs one comparison, and no argument is computed.
 */
#ifndef HEAPSUM_PROBES_H
#define HEAPSUM_PROBES_H

#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/system.h"

/* Written by the kernel alone. Not read as an atomic, because that would take an instruction more; any value read is
 * right, as a tracer comes at no certain moment. */
extern HIDDEN uint16_t otel_memory_alloc_semaphore, otel_memory_free_semaphore;

/* `weight`: the bytes that the block stands for in sums. */
void probe_alloc(const void *block, size_t bytes, uint64_t weight);
void probe_free(const void *block);

static inline __attribute__((always_inline)) bool probe_alloc_is_on(void) {
    return unlikely(otel_memory_alloc_semaphore != 0);
}

/* Call it before the allocator may give the block to another thread. */
static inline __attribute__((always_inline)) void probe_freed(const void *block) {
    if (unlikely(otel_memory_free_semaphore != 0)) probe_free(block);
}

#endif
