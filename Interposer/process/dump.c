/*
 * Writing a dump with system calls alone and in static memory, while other threads go on booking.
 *
 * Each section comes after the sections that refer to it: blocks, stacks, their details, nodes,
 * modules, strings. The recorder writes
 * an entry before anything refers to it, so whatever a block's slot names exists when its section is written. A block's
 * slot doesn't move, so a block that is live during the whole dump is met exactly once. A block that is being
 * reallocated is taken from the in-flight record that the claim in its slot names.
 */
#include "process/dump.h"

#include <limits.h>
#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "base/system.h"
#include "book/pools.h"
#include "book/ranges.h"
#include "image/identity.h"
#include "image/image.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif

/* There is one dump at a time, so all of this is static: the handler's stack may have only a few kilobytes. */
enum { IDLE, WRITING, WRITING_AND_ASKED };
static uint32_t state = IDLE;
static struct heap_header header;
static struct heap_block blocks[2730]; /* 64 KB */
static size_t block_count;
static char final_path[PATH_MAX], partial_path[PATH_MAX];

static struct output {
    int fd;
    uint64_t at;
    uint64_t most;      /* RLIMIT_FSIZE: beyond it a write would raise SIGXFSZ */
    uint64_t accounted; /* bytes counted against --max-size */
    bool failed;
} out;

static void put(const void *bytes, uint64_t length) {
    const uint8_t *from = bytes;
    if (out.at + length > out.most || !image_account((int64_t)length)) {
        out.failed = true;
        return;
    }
    out.accounted += length;
    while (length > 0 && !out.failed) {
        long written = system_pwrite(out.fd, from, length < (1u << 30) ? length : 1u << 30, out.at);
        if (written == -EINTR) continue;
        if (written <= 0) {
            out.failed = true;
            return;
        }
        from += written;
        out.at += (uint64_t)written;
        length -= (uint64_t)written;
    }
}

static void flush_blocks(void) {
    put(blocks, block_count * sizeof blocks[0]);
    block_count = 0;
}

static void add_block(uint64_t address, uint64_t slot, uint64_t bytes) {
    blocks[block_count++] = (struct heap_block){address, slot & ~HEAP_SLOT_LOW_MASK, bytes};
    if (block_count == sizeof blocks / sizeof blocks[0]) flush_blocks();
    header.sections[HEAP_SECTION_BLOCKS].used++;
}

/* Adds the block whose slot holds a claim, from its thread's in-flight record. False: the reallocation has ended, and
 * the slot has a new word. */
static bool add_in_flight(uint64_t claim) {
    uint32_t thread = heap_slot_claim_thread(claim);
    if (thread >= load_acquire(&image.header->sections[HEAP_SECTION_THREADS].used)) return true;
    const struct heap_in_flight *flight = &image.threads[thread].in_flight;
    if (load_acquire(&flight->phase) != HEAP_IN_FLIGHT_CLAIMED) return false; /* partner: book.c's releases */
    struct heap_in_flight copy = *flight;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (load_relaxed(&flight->phase) != HEAP_IN_FLIGHT_CLAIMED
        || load_relaxed(&flight->old_address) != copy.old_address)
        return false;
    add_block(copy.old_address, copy.old_slot, copy.old_bytes);
    return true;
}

static void add_slot(const uint64_t *slot, const struct heap_piece *piece, uint64_t granule) {
    for (int tries = 0; tries < 64; tries++) {
        /* partner: the publishing release; the coarse maps' size was written before it */
        uint64_t word = load_acquire(slot);
        if (word == 0 || word == HEAP_SLOT_OURS) return;
        if (heap_slot_is_reserved(word)) {
            if (add_in_flight(word)) return;
            continue; /* read the slot again: it has a new word, or none */
        }
        uint32_t low = heap_slot_low(word);
        if (piece->map == HEAP_MAP_FINE) {
            add_block(
                granule + (low & ((1u << HEAP_SLOT_FINE_SIZE_SHIFT) - 1)), word, low >> HEAP_SLOT_FINE_SIZE_SHIFT);
            return;
        }
        uint64_t bytes = load_acquire(slot + 1);
        if (load_relaxed(slot) != word) continue; /* the size may be of the next block at this address */
        add_block(granule + low, word, bytes);
        return;
    }
}

static void put_blocks(void) {
    uint64_t pieces = load_acquire(&image.header->sections[HEAP_SECTION_PIECES].used);
    for (uint64_t i = 1; i < pieces && !out.failed; i++) {
        const struct heap_piece *piece = &image.pieces[i];
        if (load_acquire(&piece->kind) != HEAP_PIECE_LEAF) continue;
        const uint64_t *slots = (const uint64_t *)(image.slots + i * HEAP_PIECE_BYTES);
        size_t words = heap_map_slot_words(piece->map), count = heap_map_leaf_slots(piece->map);
        uint32_t granule_log2 = image.header->granule_log2[piece->map];
        for (size_t n = 0; n < count; n++)
            if (load_relaxed(&slots[n * words]) != 0)
                add_slot(&slots[n * words], piece, piece->base + ((uint64_t)n << granule_log2));
    }
    flush_blocks();
}

static struct heap_mapping mappings[64];
static size_t mapping_count;

static void flush_mappings(void) {
    put(mappings, mapping_count * sizeof mappings[0]);
    mapping_count = 0;
}

static bool add_mapping(const struct heap_mapping *mapping) {
    mappings[mapping_count++] = *mapping;
    if (mapping_count == sizeof mappings / sizeof mappings[0]) flush_mappings();
    header.sections[HEAP_SECTION_MAPPINGS].used++;
    return !out.failed;
}

static void put_mappings(void) {
    struct heap_section *section = &header.sections[HEAP_SECTION_MAPPINGS];
    out.at = (out.at + 7) & ~7ull;
    section->offset = out.at;
    section->used = 2;
    mapping_count = 0;
    put(&image.ranges[0], sizeof(struct heap_mapping_sums) + sizeof(struct heap_pool_sums));
    ranges_each(add_mapping);
    if (!out.failed) pools_each(add_mapping);
    const struct heap_request_sums *requests = pools_requests();
    if (requests != NULL && !out.failed) {
        struct heap_mapping entry;
        memcpy(&entry, requests, sizeof entry);
        add_mapping(&entry);
    }
    flush_mappings();
    section->capacity = section->ready_bytes = section->used * sizeof(struct heap_mapping);
}

/* Begins a section of `count` entries at the current offset. */
static void begin_section(enum heap_section_name name, uint64_t count) {
    struct heap_section *section = &header.sections[name];
    out.at = (out.at + 7) & ~7ull;
    section->offset = out.at;
    section->used = count;
    section->capacity = section->ready_bytes = count * section->entry_bytes;
}

/* Copies the entries that a section has now. */
static void put_section(enum heap_section_name name) {
    const struct heap_section *from = &image.header->sections[name];
    uint64_t ready = load_acquire(&from->ready_bytes) / from->entry_bytes, used = load_acquire(&from->used);
    begin_section(name, used < ready ? used : ready);
    put(image.base + from->offset, header.sections[name].capacity);
}

/* Copies a thread's record and ring in one consistent state: no event from `folded` to `head` was overwritten
 * meanwhile. */
static void copy_thread(uint64_t index, struct heap_thread *record, struct heap_ring *ring) {
    const struct heap_thread *source = &image.threads[index];
    for (int tries = 0; tries < 64; tries++) {
        uint64_t head = load_acquire(&source->head); /* partner: ring_commit; entries before it are whole */
        *record = *source;
        record->head = head;
        *ring = image.rings[index];
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        /* Two entries after the head may be in progress. */
        if (record->folded <= head && load_relaxed(&source->head) + 2 <= record->folded + HEAP_RING_EVENTS) return;
    }
    /* the thread books too fast: its last few events are already in its counters, or will be in the next dump */
    record->folded = record->head;
}

/* Writes two sections with the same numbering: threads and their rings. */
static void put_threads(void) {
    static struct heap_thread record;
    static struct heap_ring ring;
    const struct heap_section *from = image.header->sections;
    uint64_t threads = load_acquire(&from[HEAP_SECTION_THREADS].used),
             rings = load_acquire(&from[HEAP_SECTION_EVENTS].used);
    uint64_t count = threads < rings ? threads : rings;
    begin_section(HEAP_SECTION_THREADS, count);
    uint64_t at = out.at;
    out.at += count * sizeof record;
    begin_section(HEAP_SECTION_EVENTS, count);
    uint64_t ring_at = out.at;
    for (uint64_t i = 0; i < count && !out.failed; i++) {
        copy_thread(i, &record, &ring);
        out.at = at + i * sizeof record;
        put(&record, sizeof record);
        out.at = ring_at + i * sizeof ring;
        put(&ring, sizeof ring);
    }
    out.at = ring_at + count * sizeof ring;
}

/* Makes the paths: DIRECTORY/PROGRAM.PID.N.heap, and the name under which it is written until it is whole. */
static bool name_paths(const char *directory, uint32_t number) {
    size_t length = strlen(directory), name = strlen(options.name);
    if (length + name + 64 > sizeof final_path) return false;
    char *at = final_path;
    memcpy(at, directory, length);
    at += length;
    *at++ = '/';
    char *base = at;
    memcpy(at, options.name, name);
    at += name;
    *at++ = '.';
    at += decimal(at, image.header->pid);
    *at++ = '.';
    at += decimal(at, number);
    memcpy(at, ".heap", 6);
    size_t prefix = (size_t)(base - final_path);
    memcpy(partial_path, final_path, prefix);
    partial_path[prefix] = '.';
    memcpy(partial_path + prefix + 1, base, strlen(base) + 1);
    return true;
}

/* Renames without replacing. Returns 0 or a negated errno: -EEXIST if the name is taken. */
static int appear(void) {
    int result = system_rename(partial_path, final_path, RENAME_NOREPLACE);
    if (result != -EINVAL && result != -ENOSYS) return result;
    result = system_link(partial_path, final_path); /* the file system lacks the flag; link never replaces either */
    if (result == 0) system_unlink(partial_path);
    return result;
}

/* In nanoseconds, because it orders the dumps of one process. */
static uint64_t moment(void) { return system_nanoseconds(CLOCK_MONOTONIC) - image.header->started_monotonic_ns; }

static void write_contents(void) {
    header = *image.header;
    header.kind = HEAP_KIND_DUMP;
    header.flags |= HEAP_FLAG_IN_FLIGHT_SETTLED;
    memset(header.sections, 0, sizeof header.sections);
    for (int i = 0; i < HEAP_SECTION_COUNT; i++) header.sections[i].entry_bytes = image.header->sections[i].entry_bytes;
    const bool has_mappings = header.flags & HEAP_FLAG_MAPPINGS;
    header.sections[HEAP_SECTION_BLOCKS].entry_bytes = sizeof(struct heap_block);
    if (has_mappings) header.sections[HEAP_SECTION_MAPPINGS].entry_bytes = sizeof(struct heap_mapping);
    struct rlimit limit;
    out.most = system_limit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : INT64_MAX;
    out.failed = false;
    out.accounted = 0;
    out.at = HEAP_PAGE_BYTES;
    block_count = 0;
    header.began_ns = moment();
    struct heap_section *section = &header.sections[HEAP_SECTION_BLOCKS];
    section->offset = out.at;
    put_blocks();
    section->capacity = section->ready_bytes = section->used * sizeof(struct heap_block);
    if (has_mappings) put_mappings();
    put_threads();
    put_section(HEAP_SECTION_STACKS);
    put_section(HEAP_SECTION_DETAILS);
    put_section(HEAP_SECTION_NODES);
    put_section(HEAP_SECTION_MODULES);
    put_section(HEAP_SECTION_STRINGS);
    put_section(HEAP_SECTION_TIMELINE);
    header.ended_ns = moment();
    uint64_t end = out.at;
    out.at = 0;
    put(&header, sizeof header);
    if (header.flags & HEAP_FLAG_MARKS) {
        out.at = HEAP_MARKS_OFFSET;
        put(image.base + HEAP_MARKS_OFFSET, HEAP_MARK_COUNT * sizeof(struct heap_mark));
    }
    out.at = end;
}

/* Writes one dump into a directory, under the first free number from `number` on. */
static bool write_into(const char *directory, uint32_t number) {
    if (directory[0] == '\0' || !name_paths(directory, number)) return false;
    system_unlink(partial_path); /* left by an earlier process with our PID that died while writing */
    out.fd = system_open(partial_path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out.fd < 0) return false;
    write_contents();
    bool whole = system_close(out.fd) == 0 && !out.failed;
    for (uint32_t tries = 0; whole && tries < 10000; tries++) {
        int result = appear();
        if (result == 0) {
            store_relaxed(&image.header->dumps, number);
            return true;
        }
        if (result != -EEXIST) break;
        static char kept[PATH_MAX];
        memcpy(kept, partial_path, strlen(partial_path) + 1);
        if (!name_paths(directory, ++number)) break;
        memcpy(partial_path, kept, strlen(kept) + 1);
    }
    system_unlink(partial_path);
    image_account(-(int64_t)out.accounted);
    return false;
}

uint64_t dump_last_live_bytes;

static void write_one(void) {
    uint32_t number = load_relaxed(&image.header->dumps) + 1;
    if (write_into(options.output, number) || write_into("/dev/shm", number)) {
        store_relaxed(&dump_last_live_bytes, load_relaxed(&image.header->live_bytes));
        return;
    }
    LOSE(failed_dumps, 1);
    message("a dump could not be written to ", options.output);
}

#define SIGNAL_OF_CANCELLATION 32

void dump_start(void) { store_relaxed(&state, IDLE); }

/* Writes one dump, and another if one is requested meanwhile. */
static void write_or_ask(void) {
    uint32_t seen = IDLE;
    if (!cas_acq_rel(&state, &seen, WRITING)) {
        /* Another thread, or the code that we interrupted, is writing: all requests meanwhile become one more dump. */
        while (seen != IDLE && seen != WRITING_AND_ASKED && !cas_acq_rel(&state, &seen, WRITING_AND_ASKED)) {}
        if (seen != IDLE) return;
        if (!cas_acq_rel(&state, &seen, WRITING)) return; /* another thread took the request */
    }
    do {
        store_relaxed(&state, WRITING);
        write_one();
        seen = WRITING;
    } while (!cas_acq_rel(&state, &seen, IDLE));
}

void dump_write(void) {
    if (!system_may_write()) { /* the program's seccomp filter would end it for a dump's system calls */
        LOSE(failed_dumps, 1);
        return;
    }
    /* A thread with asynchronous cancellation could end in here, in the middle of the code that the signal interrupted,
     * perhaps with the allocator's lock held. glibc cancels with the first of the signals that it reserves; block it.
     */
    system_signals before;
    bool masked = system_mask(SIG_BLOCK, system_signals_of(SIGNAL_OF_CANCELLATION), &before) == 0;
    write_or_ask();
    if (masked) system_mask(SIG_SETMASK, before, NULL);
}
