/*
 * A writer of OpenTelemetry's thread context (OTEP 4947) and process context (OTEP 4719), made from these texts alone.
 * traced_writer.c is the writer: a part of the program, a library that it is linked with, or one that it loads.
 */
#ifndef TRACED_H
#define TRACED_H

#include <stdint.h>

struct traced_record {
    uint8_t trace[16], span[8];
    uint8_t valid, trace_flags;
    uint16_t attributes_bytes;
    uint8_t attributes[4096];
} __attribute__((packed, aligned(2)));

struct traced_writer {
    /* The process context: published, or updated in place. Names of attributes, in the order of their numbers. */
    void (*publish)(const char *schema, const char *const *names, int count);
    void (*publish_bytes)(const void *payload, uint32_t bytes);
    void (*withdraw)(void);
    void (*attach)(struct traced_record *record); /* NULL: detaches */
    struct traced_record *(*attached)(void);
};

extern const struct traced_writer *traced_writer(void);

#endif
