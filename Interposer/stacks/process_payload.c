/*
 * The payload of a process context, in protobuf (opentelemetry-proto, process_context.proto and common.proto):
 *
 *   ProcessContext  2: attributes, KeyValue, repeated
 *   KeyValue        1: key, text          2: value, AnyValue
 *   AnyValue        1: text               5: ArrayValue
 *   ArrayValue      1: values, AnyValue, repeated
 *
 * Two of the attributes matter: the schema of the threads' records, and the map of their attributes, whose numbers are
 * the places in the array. Whoever wrote the payload may have written anything: each length is checked against what
 * encloses it, and nothing is recursive.
 */
#include <string.h>

#include "base/symbols.h"
#include "stacks/process_context.h"

#define WINDOW 256u

/* The payload, of which a window is at hand. */
struct payload {
    uintptr_t from;
    uint32_t bytes;
    uint32_t start, end; /* of the window */
    bool is_broken;
    uint8_t window[WINDOW];
};

/* A part of the payload: [at, end). */
struct part {
    uint32_t at, end;
};

static uint8_t byte_at(struct payload *payload, uint32_t at) {
    if (at - payload->start >= payload->end - payload->start) {
        const uint32_t bytes = payload->bytes - at < WINDOW ? payload->bytes - at : WINDOW;
        payload->start = at;
        payload->end = at + bytes;
        if (!memory_fetch(payload->window, payload->from + at, bytes)) {
            payload->is_broken = true;
            memset(payload->window, 0, sizeof payload->window);
        }
    }
    return payload->window[at - payload->start];
}

/* A number of at most ten bytes; a longer one, or one that is cut off, breaks the payload. */
static uint64_t number_at(struct payload *payload, struct part *part) {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 70 && part->at < part->end; shift += 7) {
        const uint8_t byte = byte_at(payload, part->at++);
        if (shift < 64) value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) return value;
    }
    payload->is_broken = true;
    return 0;
}

enum wire { WIRE_NUMBER = 0, WIRE_8_BYTES = 1, WIRE_PART = 2, WIRE_4_BYTES = 5 };

/* The next field of a message: its number, and what it holds if that is a part, else an empty one. False at the end, or
 * if the payload is broken. */
static bool next_field(struct payload *payload, struct part *message, uint64_t *field, struct part *held) {
    if (payload->is_broken || message->at >= message->end) return false;
    const uint64_t tag = number_at(payload, message);
    uint64_t bytes = 0;
    *field = tag >> 3;
    switch (tag & 7) {
        case WIRE_NUMBER: number_at(payload, message); break;
        case WIRE_8_BYTES: bytes = 8; break;
        case WIRE_4_BYTES: bytes = 4; break;
        case WIRE_PART: bytes = number_at(payload, message); break;
        default: payload->is_broken = true;
    }
    if (bytes > message->end - message->at || *field == 0) payload->is_broken = true;
    if (payload->is_broken) return false;
    *held = (struct part){message->at, message->at + (uint32_t)bytes};
    message->at += (uint32_t)bytes;
    if ((tag & 7) != WIRE_PART) *field = 0; /* of no field that is wanted */
    return true;
}

/* The last part that a message has under a number, as protobuf has it; false if there is none. */
static bool last_part(struct payload *payload, struct part message, uint64_t wanted, struct part *found) {
    uint64_t field;
    struct part held;
    bool is_found = false;
    while (next_field(payload, &message, &field, &held)) {
        if (field != wanted) continue;
        *found = held;
        is_found = true;
    }
    return is_found && !payload->is_broken;
}

static bool is_text(struct payload *payload, struct part part, const char *text) {
    const size_t length = strlen(text);
    if (part.end - part.at != length) return false;
    for (uint32_t i = 0; i < length; i++)
        if (byte_at(payload, part.at + i) != (uint8_t)text[i]) return false;
    return !payload->is_broken;
}

/* The schemas whose records have the layout of thread_context.c. */
static bool is_known_schema(struct payload *payload, struct part value) {
    static const char schemas[][16] = {"tls_v1", "tlsdesc_v1", "tlsdesc_v1_dev"};
    struct part text;
    if (!last_part(payload, value, 1, &text)) return false;
    for (size_t i = 0; i < sizeof schemas / sizeof schemas[0]; i++)
        if (is_text(payload, text, schemas[i])) return true;
    return false;
}

static bool read_map(
    struct payload *payload, struct part value, const char *attribute, struct process_context *context) {
    struct part array, each, text;
    uint64_t field;
    *context = (struct process_context){0};
    if (!last_part(payload, value, 5, &array)) return false;
    while (context->count < PROCESS_CONTEXT_KEYS && next_field(payload, &array, &field, &each)) {
        if (field != 1) continue;
        if (last_part(payload, each, 1, &text) && is_text(payload, text, attribute) && context->numbers++ == 0)
            context->number = (uint8_t)context->count;
        context->count++;
    }
    return !payload->is_broken;
}

bool process_context_parse(uintptr_t from, size_t bytes, const char *attribute, struct process_context *context) {
    if (bytes > PROCESS_CONTEXT_MOST) return false;
    struct payload payload = {.from = from, .bytes = (uint32_t)bytes};
    struct part whole = {0, (uint32_t)bytes}, held, key = {0}, value = {0};
    uint64_t field;
    bool is_known = false, is_mapped = false;
    while (next_field(&payload, &whole, &field, &held)) {
        if (field != 2 || !last_part(&payload, held, 1, &key) || !last_part(&payload, held, 2, &value)) continue;
        if (is_text(&payload, key, "threadlocal.schema_version")) is_known = is_known_schema(&payload, value);
        if (is_text(&payload, key, "threadlocal.attribute_key_map"))
            is_mapped = read_map(&payload, value, attribute, context);
    }
    return is_known && is_mapped && !payload.is_broken;
}
