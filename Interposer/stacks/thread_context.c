/*
 * From a thread's record to its tag. The writer is the thread itself, and it calls us, or a signal handler that
 * interrupted it does: the text is made for just that ("signal handler-like semantics"). A record that is being changed
 * is not valid, or the pointer is NULL. The writer may change a record in place, so an equal pointer says nothing: the
 * attributes are compared with those that the last tag was made of.
 *
 * A block whose thread had a valid record that can't be understood gets a tag of its own, HEAP_TAG_UNREAD: so it is
 * counted, and not taken for one without a context.
 */
#include "stacks/thread_context.h"

#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/thread_variable.h"
#include "image/image.h"
#include "stacks/process_context.h"
#include "stacks/scratch.h"
#include "stacks/tags.h"
#include "threads/hook.h"
#include "threads/thread.h"

/* OTEP 4947, "Thread-Local Context Record". */
struct record {
    uint8_t trace[16], span[8];
    uint8_t valid; /* 1: it is; all other values: it is not */
    uint8_t trace_flags;
    uint16_t attributes_bytes;
    uint8_t attributes[]; /* entries without gaps: an attribute's number, the bytes of its value, the value */
};
_Static_assert(sizeof(struct record) == 28, "record");

#define LOOK_MS 16u /* between two looks for modules that came without an allocation of the loader's */

static struct thread_variable variable = {.name = "otel_thread_ctx_v1"};
static uint32_t loads, seen_loads; /* allocations of the loader: it loads a module, or did */
static uint64_t look_due_ms;
static uint32_t unread;

static void note(uint32_t flag) {
    if (unlikely(!(load_relaxed(&image.header->flags) & flag))) or_relaxed(&image.header->flags, flag);
}

static void look(bool anew, uint64_t now_ms) {
    const uint32_t seen = load_relaxed(&loads);
    if (!thread_variable_look(&variable, anew)) return;
    store_relaxed(&seen_loads, seen);
    store_relaxed(&look_due_ms, now_ms + LOOK_MS);
    if (load_relaxed(&variable.places[0]) != 0) note(HEAP_FLAG_OTEL_VARIABLE);
}

void thread_context_start(void) {
    if (options.otel_context[0] == '\0') return;
    note(HEAP_FLAG_OTEL_CONTEXT);
    unread = tags_number(HEAP_TAG_UNREAD, sizeof HEAP_TAG_UNREAD - 1);
    process_context_forget();
    look(true, 0);
}

/* ---- A record's attributes --------------------------------------------------------------------------------- */

/* The last value of an attribute's number, as the text has it; NULL if there is none. Raises *highest to the highest
 * number. An entry that is cut off ends the walk. */
static const uint8_t *value_of(
    const uint8_t *attributes, uint32_t bytes, uint32_t number, uint32_t *length, uint32_t *highest) {
    const uint8_t *value = NULL;
    for (uint32_t at = 0; bytes - at >= 2 && bytes - at - 2 >= attributes[at + 1]; at += 2 + attributes[at + 1]) {
        if (attributes[at] > *highest) *highest = attributes[at];
        if (attributes[at] != number) continue;
        value = attributes + at + 2;
        *length = attributes[at + 1];
    }
    return value;
}

/* The tag "attribute=value". */
static uint32_t tag_of(const uint8_t *value, uint32_t length) {
    char text[sizeof options.otel_context + 1 + UINT8_MAX];
    const size_t name = strlen(options.otel_context);
    memcpy(text, options.otel_context, name);
    text[name] = '=';
    memcpy(text + name + 1, value, length);
    return tags_number(text, name + 1 + length);
}

static __attribute__((noinline)) uint32_t read_attributes(
    struct thread_context *context, const uint8_t *attributes, uint32_t bytes, uint64_t key, uint64_t now_ms) {
    uint32_t length = 0, highest = 0;
    const uint8_t *value = key != 0 ? value_of(attributes, bytes, process_key_number(key), &length, &highest) : NULL;
    const bool asks = key != 0 && process_key_number(key) == KEY_NONE && bytes > 0 && highest >= process_key_count(key);
    if (asks) {
        key = process_context_key(options.otel_context, now_ms, true);
        if (key != 0) value = value_of(attributes, bytes, process_key_number(key), &length, &highest);
    }
    if (key == 0) return unread;
    note(HEAP_FLAG_OTEL_KEYS);
    if (process_key_number(key) != KEY_NONE) note(HEAP_FLAG_OTEL_NAMED);
    const uint32_t tag = value != NULL ? tag_of(value, length) : 0;
    context->key = 0;
    fence_compiler(); /* a longjmp out of a handler must not leave one record's bytes with another's tag */
    memcpy(context->attributes, attributes, bytes);
    context->bytes = bytes;
    context->tag = tag;
    context->again_ms = asks && value == NULL ? now_ms + LOOK_MS : UINT64_MAX;
    fence_compiler();
    context->key = key;
    return tag;
}

static inline bool are_equal(const uint8_t *one, const uint8_t *other, uint32_t bytes) {
    uint64_t a, b;
    for (; bytes >= sizeof a; bytes -= sizeof a, one += sizeof a, other += sizeof b) {
        __builtin_memcpy(&a, one, sizeof a);
        __builtin_memcpy(&b, other, sizeof b);
        if (a != b) return false;
    }
    for (; bytes > 0; bytes--)
        if (*one++ != *other++) return false;
    return true;
}

/* ---- A record ------------------------------------------------------------------------------------------------- */

/* Whether [start, end) can be read. The kernel is asked each time, because a program may take the memory away while the
 * pointer still leads there. */
static bool is_readable(uintptr_t start, uintptr_t end) {
    for (uintptr_t at = start & ~(uintptr_t)7; at < end; at = (at | (HEAP_PAGE_BYTES - 1)) + 1)
        if (!memory_is_readable(at)) return false;
    return true;
}

static uint32_t read_record(struct thread_context *context, uintptr_t at) {
    const struct record *record = (const struct record *)at;
    const uintptr_t end = at + sizeof *record, next_page = ((end - 1) | (HEAP_PAGE_BYTES - 1)) + 1;
    if (at % 2 != 0 || !is_readable(at, end)) return unread;
    if (record->valid != 1) return 0;
    const uint32_t bytes = record->attributes_bytes;
    if (bytes > THREAD_CONTEXT_MOST || !is_readable(next_page, end + bytes)) return unread;
    const uint64_t now_ms = thread_clock()->milliseconds;
    const uint64_t key = process_context_key(options.otel_context, now_ms, false);
    if (likely(context->key == key) && likely(key != 0) && likely(context->bytes == bytes)
        && likely(now_ms < context->again_ms) && likely(are_equal(context->attributes, record->attributes, bytes)))
        return context->tag;
    return read_attributes(context, record->attributes, bytes, key, now_ms);
}

/* Whether modules may have come, or gone. */
static inline bool is_due(void) {
    return load_relaxed(&loads) != load_relaxed(&seen_loads)
        || load_relaxed(&variable.generation) != loader_generation()
        || local.clock.milliseconds >= load_relaxed(&look_due_ms)
        || (unlikely(loader_has_musl()) && load_relaxed(&variable.places[0]) == 0
            && thread_variable_has_news(&variable));
}

void thread_context_look(const struct hook *hook) {
    local.tag = local.tag_set;
    if (local.tag_set != 0) return;
    if (unlikely(loader_holds(hook->caller))) add_relaxed(&loads, 1); /* its list may be half changed: look later */
    else if (unlikely(is_due())) look(false, local.clock.milliseconds);
    bool is_unreadable = false;
    for (uint32_t i = 0; i < THREAD_VARIABLE_PLACES; i++) {
        const uint64_t place = load_relaxed(&variable.places[i]);
        if (likely(place == 0)) break;
        if (unlikely((place & 3) == PLACE_UNREADABLE)) {
            is_unreadable = true;
            continue;
        }
        const uintptr_t *pointer = thread_variable_at(place);
        if (pointer == NULL || *pointer == 0) continue;
        local.tag = read_record(&local.scratch->contexts[hook->level], *pointer);
        return;
    }
    if (unlikely(is_unreadable)) local.tag = unread;
}
