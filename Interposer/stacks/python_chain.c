/*
 * Reads a thread's Python frames.
 *
 * Whose state. A thread's own state is the value of CPython's pthread key. Whether the thread holds the interpreter's
 * lock is known from the runtime: the holder is the thread's own state. Then all that is read is at rest, as CPython
 * itself walks these frames at any allocation (tracemalloc does). Without the lock the thread's frames don't change
 * either, but when the interpreter ends, another thread may free them: so then everything is copied by the kernel,
 * which fails where a read would fault.
 *
 * Nothing is believed: each page is tested before it is first read, each code object must have the type of code
 * objects, and the walk is bounded.
 */
#include "stacks/python_chain.h"

#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"
#include "stacks/tree.h"

/* libc's own functions. */
static void *(*value_of_key)(unsigned);
static uintptr_t (*own_thread)(void);

void python_chain_start(void) {
    *(void **)&value_of_key = loader_next("pthread_getspecific");
    *(void **)&own_thread = loader_next("pthread_self");
}

/* ---- Reading ----------------------------------------------------------------------------------------- */

#define PAGE_LOG2 12
#define LOOKED_MOST 4096 /* after so many chains the pages are tested again */

static __attribute__((noinline)) bool look(struct python_chain *chain, uintptr_t page) {
    if (!memory_is_readable(page << PAGE_LOG2)) return false;
    chain->pages[page % PYTHON_PAGES] = page;
    return true;
}

static inline bool may_read(struct python_chain *chain, uintptr_t from, size_t bytes) {
    const uintptr_t first = from >> PAGE_LOG2, last = (from + bytes - 1) >> PAGE_LOG2;
    if (unlikely(first == 0) || unlikely(last < first)) return false;
    if (unlikely(chain->pages[first % PYTHON_PAGES] != first) && !look(chain, first)) return false;
    return likely(first == last) || likely(chain->pages[last % PYTHON_PAGES] == last) || look(chain, last);
}

const void *python_view(struct python_chain *chain, uintptr_t from, size_t bytes, void *space) {
    if (likely(chain->is_trusted)) return likely(may_read(chain, from, bytes)) ? (const void *)from : NULL;
    return from >> PAGE_LOG2 != 0 && memory_fetch(space, from, bytes) ? space : NULL;
}

static inline uintptr_t word(const void *at, uint32_t offset) {
    uintptr_t value;
    memcpy(&value, (const char *)at + offset, sizeof value);
    return value;
}
static inline uint32_t half(const void *at, uint32_t offset) {
    uint32_t value;
    memcpy(&value, (const char *)at + offset, sizeof value);
    return value;
}

static inline bool is_object(uintptr_t address) { return address != 0 && address % 8 == 0; }

/* ---- Whose frames ------------------------------------------------------------------------------------ */

/* The thread's own state; 0 if CPython has none for it. */
static uintptr_t own_state(const struct python_runtime *runtime) {
    const void *key = (const char *)runtime->address + runtime->layout.runtime.key;
    if (half(key, 0) != 1 || half(key, 4) >= 1024) return 0;
    const uintptr_t own = (uintptr_t)value_of_key(half(key, 4));
    return is_object(own) ? own : 0;
}

static uintptr_t lock_holder(const struct python_runtime *runtime) {
    const uint32_t locked = runtime->layout.runtime.locked;
    const void *base = (const void *)runtime->address;
    const uint32_t lock = runtime->layout.runtime.lock;
    if (locked != 0 && half(base, locked) != 1) return 0;
    if (lock != 0 && word(base, runtime->layout.runtime.used_lock) != runtime->address + lock) return 0;
    const uintptr_t holder = load_relaxed((const uintptr_t *)(runtime->address + runtime->layout.runtime.holder));
    return is_object(holder) ? holder : 0;
}

static bool is_of_this_thread(const struct python_runtime *runtime, uintptr_t state) {
    uintptr_t thread;
    return memory_fetch(&thread, state + runtime->layout.state.thread, sizeof thread) && thread == own_thread();
}

/* The state whose frames this thread executes; 0 if there is none. */
static uintptr_t find_state(struct python_chain *chain) {
    const struct python_runtime *runtime = chain->runtime;
    const uintptr_t own = own_state(runtime), holder = lock_holder(runtime);
    chain->is_trusted = holder != 0 && (holder == own || is_of_this_thread(runtime, holder));
    if (chain->is_trusted) return holder;
    const uintptr_t ends = word((const void *)runtime->address, runtime->layout.runtime.finalizing);
    if (own == 0 || (ends != 0 && ends != own) || !is_of_this_thread(runtime, own)) return 0;
    return own;
}

/* ---- What they execute ------------------------------------------------------------------------------- */

bool python_string_read(struct python_chain *chain, uintptr_t string, struct python_string *head) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[PYTHON_STRING_BYTES / sizeof(uint64_t)];
    if (!is_object(string)) return false;
    const void *object = python_view(chain, string, sizeof space, space);
    if (object == NULL || word(object, layout->type) != chain->runtime->string_type) return false;
    const uint32_t state = half(object, layout->string.state);
    const bool is_compact = state >> 5 & 1;
    head->unit = state >> 2 & 7;
    head->is_ascii = state >> 6 & 1;
    head->length = word(object, layout->string.length);
    head->hash = word(object, layout->string.hash);
    head->characters = string + (head->is_ascii ? layout->string.ascii : layout->string.wide);
    return is_compact && (head->unit == 1 || head->unit == 2 || head->unit == 4) && head->length < UINT32_MAX;
}

/* A longer table of lines is no function's. */
#define LINES_MOST ((uint64_t)16 << 20)

/* Adds bytes to a hash. */
static bool hash_bytes(struct python_chain *chain, uintptr_t from, uint64_t bytes, uint64_t *hash) {
    while (bytes > 0) {
        size_t piece = bytes < sizeof chain->space ? bytes : sizeof chain->space, left = piece;
        const char *at = python_view(chain, from, piece, chain->space);
        if (at == NULL) return false;
        for (; left >= 8; left -= 8, at += 8) *hash = tree_hash(*hash, word(at, 0));
        uint64_t rest = 0;
        memcpy(&rest, at, left);
        if (left > 0) *hash = tree_hash(*hash, rest);
        from += piece;
        bytes -= piece;
    }
    return true;
}

/* A hash of a string's content. CPython's own, if it has one; a name's is nearly always there, a file's is not. */
static bool hash_string(struct python_chain *chain, uintptr_t string, uint64_t *hash) {
    struct python_string head;
    if (!python_string_read(chain, string, &head)) return false;
    *hash = tree_hash(*hash, head.length << 8 | head.unit << 1 | head.is_ascii);
    if (head.hash != UINT64_MAX) {
        *hash = tree_hash(*hash, head.hash);
        return true;
    }
    const uint64_t length = head.length < PYTHON_STRING_MOST ? head.length : PYTHON_STRING_MOST;
    return hash_bytes(chain, head.characters, length * head.unit, hash);
}

/* A hash of a table of lines: all of it, as tables of the same length may differ in a byte. */
static bool hash_lines(struct python_chain *chain, uintptr_t lines, uint64_t *hash) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[PYTHON_STRING_BYTES / sizeof(uint64_t)];
    if (!is_object(lines)) return false;
    const void *object = python_view(chain, lines, layout->bytes.size + 8, space);
    if (object == NULL) return false;
    const uint64_t bytes = word(object, layout->bytes.size);
    *hash = tree_hash(tree_hash(*hash, lines), bytes);
    return bytes <= LINES_MOST && hash_bytes(chain, lines + layout->bytes.bytes, bytes, hash);
}

/* The fingerprint of a code object, and where its instructions begin and its function may be seen. */
static bool read_code(
    struct python_chain *chain, uintptr_t code, uint64_t *print, uintptr_t *instructions, uint32_t *traceable) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[PYTHON_CODE_BYTES / sizeof(uint64_t)];
    if (!is_object(code)) return false;
    const void *object = python_view(chain, code, layout->code.instructions, space);
    if (object == NULL || word(object, layout->type) != chain->runtime->code_type) return false;
    uint64_t hash = tree_hash(tree_seed, half(object, layout->code.first_line));
    const uintptr_t file = word(object, layout->code.file), name = word(object, layout->code.name);
    const uintptr_t lines = word(object, layout->code.lines);
    *instructions = code + layout->code.instructions;
    *traceable = half(object, layout->code.first_traceable);
    if (!hash_string(chain, file, &hash) || !hash_string(chain, name, &hash) || !hash_lines(chain, lines, &hash))
        return false;
    *print = hash;
    return true;
}

/* ---- The walk ---------------------------------------------------------------------------------------- */

enum { OWNED_BY_GENERATOR = 1, OWNED_BY_C_STACK = 3 }; /* enum _frameowner, from 3.11 to 3.13 */

/* The last frame that was read. */
struct walked {
    uintptr_t code, previous, instruction;
    uint8_t owner;
};

static bool read_frame(struct python_chain *chain, uintptr_t frame, struct walked *walked) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[PYTHON_FRAME_BYTES / sizeof(uint64_t)];
    if (!is_object(frame)) return false;
    const char *at = python_view(chain, frame, layout->frame.owner + 1, space);
    if (at == NULL) return false;
    *walked = (struct walked){word(at, layout->frame.code), word(at, layout->frame.previous),
        word(at, layout->frame.instruction), (uint8_t)at[layout->frame.owner]};
    return true;
}

/* Appends a frame, unless its function has not begun: it is being called, and CPython shows its caller. */
static bool append(struct python_chain *chain, const struct walked *walked) {
    uint64_t print;
    uintptr_t instructions;
    uint32_t traceable;
    if (!read_code(chain, walked->code, &print, &instructions, &traceable)) return false;
    const bool is_before = walked->instruction < instructions;
    const uintptr_t offset = walked->instruction - instructions;
    if (!is_before && offset > UINT32_MAX / 2) return false;
    if (walked->owner != OWNED_BY_GENERATOR && (is_before || offset < 2 * (uintptr_t)traceable)) return true;
    if (chain->count == PYTHON_FRAMES) return false;
    const uint32_t instruction = is_before ? PYTHON_NOT_BEGUN : (uint32_t)offset;
    chain->frames[chain->count++] = (struct python_frame){walked->code, instruction, print};
    chain->hash = tree_hash(tree_hash(chain->hash, print), instruction);
    return true;
}

static bool end_call(struct python_chain *chain, uintptr_t anchor) {
    if (chain->calls_count == PYTHON_CALLS) return false;
    chain->calls[chain->calls_count++] = (struct python_call){anchor, chain->count};
    chain->hash = tree_hash(chain->hash, anchor);
    return true;
}

/* 3.11: each call of the loop has a _PyCFrame among its C variables, which names its innermost frame. Its frames end
 * where those of the next outer call begin. A record without frames is no call's: greenlet has one where a greenlet
 * starts. */
static bool walk_by_cframes(struct python_chain *chain, uintptr_t state, uintptr_t cframe) {
    const struct python_layout *layout = &chain->runtime->layout;
    const uintptr_t root = state + layout->state.root_frame;
    uint64_t space[4];
    uint32_t steps = 0;
    const void *record = is_object(cframe) ? python_view(chain, cframe, sizeof space, space) : NULL;
    if (record == NULL) return false;
    uintptr_t frame = word(record, layout->cframe.frame);
    while (cframe != root) {
        const uintptr_t outer = word(record, layout->cframe.previous);
        record = is_object(outer) ? python_view(chain, outer, sizeof space, space) : NULL;
        if (record == NULL) return false;
        const uintptr_t end = word(record, layout->cframe.frame);
        const bool is_call = frame != end;
        while (frame != end) {
            struct walked walked;
            if (frame == 0 || steps++ > 2 * PYTHON_FRAMES || !read_frame(chain, frame, &walked)
                || !append(chain, &walked))
                return false;
            frame = walked.previous;
        }
        if (is_call && !end_call(chain, cframe)) return false;
        cframe = outer;
    }
    return frame == 0;
}

/* From 3.12 on: each call of the loop has a frame among its C variables, outside of those that it executes. */
static bool walk_by_frames(struct python_chain *chain, uintptr_t frame) {
    for (uint32_t steps = 0; frame != 0; steps++) {
        struct walked walked;
        if (steps > 2 * PYTHON_FRAMES || !read_frame(chain, frame, &walked)) return false;
        if (walked.owner == OWNED_BY_C_STACK) {
            if (!end_call(chain, frame)) return false;
        } else if (!append(chain, &walked)) {
            return false;
        }
        frame = walked.previous;
    }
    return chain->calls_count > 0 ? chain->calls[chain->calls_count - 1].frames == chain->count : chain->count == 0;
}

enum python_read python_chain_read(struct python_chain *chain) {
    const struct python_runtime *runtime = python_runtime();
    if (runtime == NULL || !runtime->is_read || value_of_key == NULL || own_thread == NULL) return PYTHON_NONE;
    const struct python_layout *layout = &runtime->layout;
    chain->runtime = runtime;
    chain->count = chain->calls_count = 0;
    chain->hash = tree_seed;
    if (++chain->looked > LOOKED_MOST) {
        memset(chain->pages, 0, sizeof chain->pages);
        chain->looked = 0;
    }
    const uintptr_t state = find_state(chain);
    if (state == 0) return PYTHON_NONE;
    uint64_t space[PYTHON_STATE_BYTES / sizeof(uint64_t)];
    const uint32_t place = layout->state.cframe != 0 ? layout->state.cframe : layout->state.frame;
    const void *at = python_view(chain, state + place, sizeof(uintptr_t), space);
    if (at == NULL) return PYTHON_FAILED;
    uintptr_t innermost = word(at, 0);
    if (runtime->by_cframes) {
        if (!walk_by_cframes(chain, state, innermost)) return PYTHON_FAILED;
    } else {
        if (layout->state.cframe != 0) {
            at = is_object(innermost) ? python_view(chain, innermost + layout->cframe.frame, 8, space) : NULL;
            if (at == NULL) return PYTHON_FAILED;
            innermost = word(at, 0);
        }
        if (!walk_by_frames(chain, innermost)) return PYTHON_FAILED;
    }
    return chain->calls_count > 0 ? PYTHON_READ : PYTHON_NONE;
}
