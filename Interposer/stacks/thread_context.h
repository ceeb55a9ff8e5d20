/*
 * OpenTelemetry's thread context (OTEP 4947) as a tag: the pointer `otel_thread_ctx_v1` of each thread leads to a
 * record of what the thread works for. With --otel-context one attribute of it is the tag of the blocks that the thread
 * allocates, unless heapsum_tag has set another.
 */
#ifndef HEAPSUM_THREAD_CONTEXT_H
#define HEAPSUM_THREAD_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

/* The most bytes of a record's attributes that are read. The text recommends 612. */
#define THREAD_CONTEXT_MOST 1024u

/* What a thread remembers of the record that it looked at last, for one level of hooks. */
struct thread_context {
    uint64_t key;      /* of the attributes' names (process_context.h), when the tag was found; 0: no tag is known */
    uint64_t again_ms; /* from then on the tag may be another: a number was not known */
    uint32_t tag;      /* 0: the record does not have the attribute */
    uint32_t bytes;    /* of the attributes, which follow */
    uint8_t attributes[THREAD_CONTEXT_MOST];
};

struct hook;

/* Looks for the variable, at a recording's start. Does nothing without the option. */
void thread_context_start(void);

/* Sets this thread's tag to the attribute of its record, or to what the program set. In a hook of a thread with scratch
 * memory. Async-signal-safe, no allocation, no lock. Cost: a load if the thread has no record; else a system
 * call, and a comparison of its attributes with those of the last time, or a walk through them. */
void thread_context_look(const struct hook *hook);

#endif
