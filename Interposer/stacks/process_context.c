/*
 * Finding and reading the process context, by the protocol of OTEP 4719: a mapping with a name begins with a header;
 * the header has the address of a payload in protobuf, and the time of its publication. That is 0 while the header
 * changes, and another one afterwards. So a payload is whole if the time is the same before and after reading it.
 *
 * The program may take the mapping away at any time, so all of it is fetched through the kernel.
 */
#include "stacks/process_context.h"

#include <string.h>

#include "base/atomics.h"
#include "base/maps.h"
#include "base/symbols.h"
#include "base/system.h"

struct header {
    char signature[8];
    uint32_t version;
    uint32_t payload_bytes;
    uint64_t published;
    uint64_t payload;
};
_Static_assert(sizeof(struct header) == 32, "header");

#define VERSION 2u
#define TRIES 3
#define REST_LEAST_MS 16u /* between two searches, or two looks at the header */
#define REST_FACTOR 64u   /* a search is followed by a rest of this many times its duration */

/* A key: an attribute's number, the count of numbers, whether it is known, and the lower bits of the header's time. */
#define KEY_KNOWN (1ull << 18)
#define KEY_TIME_SHIFT 19

static uint64_t known_key;
static uintptr_t known_header;
static uint64_t search_due_ms, look_due_ms;

void process_context_forget(void) {
    store_relaxed(&known_key, 0);
    store_relaxed(&known_header, 0);
    store_relaxed(&search_due_ms, 0);
    store_relaxed(&look_due_ms, 0);
}

static bool fetch_header(uintptr_t at, struct header *header) {
    return memory_fetch(header, at, sizeof *header) && memcmp(header->signature, "OTEL_CTX", 8) == 0
        && header->version == VERSION;
}

/* ---- Finding ------------------------------------------------------------------------------------------- */

#define NAME_ROOM 40

struct search {
    char name[NAME_ROOM];
    uintptr_t found;
};

static bool is_named(const char *name) {
    static const char names[][24] = {"/memfd:OTEL_CTX", "[anon_shmem:OTEL_CTX]", "[anon:OTEL_CTX]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const size_t length = strlen(names[i]);
        /* the kernel adds " (deleted)" to a file in memory */
        if (strncmp(name, names[i], length) == 0 && (name[length] == '\0' || name[length] == ' ')) return true;
    }
    return false;
}

static bool visit(const struct mapping *mapping, void *context) {
    struct search *search = context;
    struct header header;
    if (!mapping->readable || !is_named(search->name) || !fetch_header(mapping->start, &header)) return false;
    search->found = mapping->start;
    return true;
}

static void find(uint64_t now_ms) {
    struct search search = {.found = 0};
    const uint64_t begun = system_nanoseconds(CLOCK_MONOTONIC);
    maps_each(visit, &search, search.name, sizeof search.name);
    const uint64_t rest = (system_nanoseconds(CLOCK_MONOTONIC) - begun) * REST_FACTOR / 1000000;
    store_relaxed(&search_due_ms, now_ms + (rest > REST_LEAST_MS ? rest : REST_LEAST_MS));
    if (search.found != 0) store_relaxed(&known_header, search.found);
}

/* ---- Reading ---------------------------------------------------------------------------------------------- */

static uint64_t key_of(const struct process_context *context, uint64_t published) {
    const uint32_t number = context->numbers == 1 ? context->number : KEY_NONE;
    return published << KEY_TIME_SHIFT | KEY_KNOWN | (uint64_t)context->count << 9 | number;
}

/* Reads the payload; a key that is not known any more is forgotten, because its numbers may mean other attributes. */
static void read_anew(const char *attribute) {
    struct header header = {.published = 0}, after;
    const uintptr_t at = load_relaxed(&known_header);
    for (int i = 0; i < TRIES; i++) {
        struct process_context context;
        if (!fetch_header(at, &header)) {
            store_relaxed(&known_header, 0);
            break;
        }
        if (header.published == 0) continue;
        const bool is_right = process_context_parse(header.payload, header.payload_bytes, attribute, &context);
        __atomic_thread_fence(__ATOMIC_ACQUIRE); /* partner: the writer's barriers */
        if (!fetch_header(at, &after) || after.published != header.published) continue;
        store_release(&known_key, is_right ? key_of(&context, header.published) : 0);
        return;
    }
    store_release(&known_key, 0);
}

/* Whether the header has another time than the one that the key was made of. */
static bool has_changed(uint64_t key) {
    struct header header;
    return !fetch_header(load_relaxed(&known_header), &header)
        || header.published << KEY_TIME_SHIFT >> KEY_TIME_SHIFT != key >> KEY_TIME_SHIFT;
}

uint64_t process_context_key(const char *attribute, uint64_t now_ms, bool must) {
    const uint64_t key = load_acquire(&known_key);
    if (likely(!must) && likely(now_ms < load_relaxed(&look_due_ms))) return key;
    if (load_relaxed(&known_header) == 0 && now_ms >= load_relaxed(&search_due_ms)) find(now_ms);
    if (load_relaxed(&known_header) != 0 ? key == 0 || has_changed(key) : key != 0) read_anew(attribute);
    store_relaxed(&look_due_ms, now_ms + REST_LEAST_MS);
    return load_acquire(&known_key);
}
