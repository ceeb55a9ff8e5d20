/*
 * Return addresses: whether a call precedes them, and which memory is executable.
 */
#include "stacks/return_address.h"

#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/maps.h"
#include "base/symbols.h"
#include "image/image.h"
#include "stacks/cfi.h"
#include "threads/hook.h"
#include "threads/thread.h"

enum call { CALL_NONE, CALL_DIRECT, CALL_INDIRECT };

/* call_before(): the call that ends at an address, and its target if it is direct. is_jump(): whether a function begins
 * with a jump: an entry of a PLT, or a thunk. called_before(): as called_function(). */
#if defined(__x86_64__)
#include "stacks/x86_64/calls.h"
#elif defined(__aarch64__)
#include "stacks/aarch64/calls.h"
#endif

static bool is_code_of_module(uintptr_t address) { return loader_guess(address) == GUESS_CODE; }

/* ---- Code of no module ------------------------------------------------------------------------------------- */

/* Executable memory outside of all modules, as it was at the last look. */
#define RANGES 128
/*
 * A look reads all mappings and takes 100 microseconds or more. If it finds the address (a JIT compiler is making
 * code), the next look may follow a millisecond later. Each time it doesn't (the words asked about are just numbers),
 * the pause doubles.
 */
#define LEAST_PAUSE_NANOSECONDS 1000000u
#define MOST_PAUSE_NANOSECONDS 64000000u
static struct code_ranges {
    uint64_t looked_ns; /* since the recording's start, plus one; 0: never */
    uint32_t count;
    struct module_span spans[RANGES];
} tables[2]; /* one is in use, one is being made */
static uint32_t current, pause_nanoseconds = LEAST_PAUSE_NANOSECONDS;
/* The thread that is making one, or 0. One that finds its own number outside of nested hooks left a look by longjmp out
 * of a handler. The process stands above the number: a fork's child has no other thread that makes one. */
static uint64_t maker;

static bool add_range(const struct mapping *mapping, void *context) {
    struct code_ranges *table = context;
    if (!mapping->executable || loader_guess(mapping->start) != GUESS_NO_MODULE) return false;
    struct module_span *last = table->count > 0 ? &table->spans[table->count - 1] : NULL;
    if (last != NULL && last->end == mapping->start) last->end = mapping->end;
    else if (table->count < RANGES) table->spans[table->count++] = (struct module_span){mapping->start, mapping->end};
    return false;
}

static uint32_t last_found; /* the span of the last address: likely that of the next one, too */

static bool is_in(const struct code_ranges *table, uintptr_t address) {
    if (module_span_holds(&table->spans[load_relaxed(&last_found)], address)) return true;
    for (uint32_t i = 0; i < table->count; i++)
        if (module_span_holds(&table->spans[i], address)) {
            store_relaxed(&last_found, i);
            return true;
        }
    return false;
}

static bool begin_table(void) {
    if (hook_memory_is_borrowed()) return false; /* a vfork's child: its parent's threads go on */
    const uint64_t process = (uint64_t)system_process() << 32, self = process | thread_id();
    uint64_t seen = 0;
    if (cas_acq_rel(&maker, &seen, self)) return true; /* partner: may_be_executed's release */
    const bool is_left = seen == self ? local.level <= 1 : seen >> 32 != process >> 32;
    return is_left && cas_acq_rel(&maker, &seen, self);
}

static bool may_be_executed(uintptr_t address) {
    uint32_t used = load_acquire(&current); /* partner: the release below */
    if (is_in(&tables[used], address)) return true;
    uint64_t now = image_nanoseconds() + 1, looked = load_relaxed(&tables[used].looked_ns);
    if (looked != 0 && now - looked < load_relaxed(&pause_nanoseconds)) return false;
    if (!begin_table()) return false;
    struct code_ranges *table = &tables[1 - used];
    memset(table->spans, 0, sizeof table->spans);
    table->count = 0;
    maps_each(add_range, table, NULL, 0);
    store_relaxed(&table->looked_ns, now);
    store_release(&current, 1 - used);
    bool is_found = is_in(table, address);
    uint32_t pause = is_found ? LEAST_PAUSE_NANOSECONDS : load_relaxed(&pause_nanoseconds) * 2;
    store_relaxed(&pause_nanoseconds, pause < MOST_PAUSE_NANOSECONDS ? pause : MOST_PAUSE_NANOSECONDS);
    store_release(&maker, 0);
    return is_found;
}

/* ---- Both --------------------------------------------------------------------------------------------------- */

/* A remembered answer: the address, 15 bits of the modules' generation, and the answer in the lowest bit. A word is
 * read and written as a whole. */
#define KNOWN_LOG2 10
static uint64_t known[1u << KNOWN_LOG2];

bool is_return_address(uintptr_t address) {
    if (address < HEAP_PAGE_BYTES || address >> HEAP_ADDRESS_BITS != 0) return false;
    uint64_t key = (uint64_t)address << 16 | (uint64_t)(loader_generation() & 0x7FFF) << 1;
    uint64_t *place = &known[(uint64_t)address * 0x9E3779B97F4A7C15ull >> (64 - KNOWN_LOG2)],
             word = load_relaxed(place);
    if (likely((word & ~1ull) == key)) return word & 1;
    if (is_in(&tables[load_acquire(&current)], address)) return true; /* partner: may_be_executed's release */
    enum guessed guess = loader_guess(address);
    if (guess == GUESS_NO_MODULE) return may_be_executed(address); /* not kept: other code may be put there */
    uintptr_t target;
    enum call call = guess == GUESS_CODE ? call_before(address, &target) : CALL_NONE;
    bool answer =
        call == CALL_INDIRECT || (call == CALL_DIRECT && (is_code_of_module(target) || may_be_executed(target)));
    store_relaxed(place, key | answer);
    return answer;
}

/* ---- Whose return address ----------------------------------------------------------------------------------- */

/* How well a call fits a pc without call frame information: whether it may be the call of the function that contains
 * the pc. */
enum fit {
    /* it calls a function that has such information, or that begins after the pc; unless that function jumped on, the
     * call belongs to another frame */
    FIT_NOT,
    FIT_UNKNOWN, /* through a pointer, to a stub that jumps on, or from a JIT compiler's code */
    FIT_DIRECT,  /* it calls a function without such information that begins at *start, before the pc */
};

static enum fit fit_of(uintptr_t return_address, uintptr_t pc, uintptr_t *start) {
    if (loader_guess(return_address) == GUESS_NO_MODULE || call_before(return_address, start) != CALL_DIRECT)
        return FIT_UNKNOWN;
    if (*start <= pc && !cfi_has_entry(*start)) return FIT_DIRECT;
    return is_jump(*start) ? FIT_UNKNOWN : FIT_NOT;
}

bool is_own_caller(uintptr_t return_address, uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    struct loaded module;
    uintptr_t start = 0, other;
    const bool is_jits = !loader_find(pc, &module); /* a JIT compiler's code, which is only called through pointers */
    enum fit fit = fit_of(return_address, pc, &start);
    if (is_jits && fit == FIT_DIRECT) fit = FIT_NOT;
    /* such code leaves many addresses on its stack, so another one is no better */
    if (is_jits && fit != FIT_NOT) return true;
    if (fit != FIT_DIRECT) start = 0;
    for (uintptr_t word = sp; word < fp; word += sizeof(uintptr_t)) {
        /* The stack pointer's stack may be another than the frame pointer's, with a guard page between them. */
        if ((word == sp || word % HEAP_PAGE_BYTES == 0) && !memory_is_readable(word)) return false;
        uintptr_t value = *(const volatile uintptr_t *)word;
        if (!is_code_of_module(value) || !is_return_address(value)) continue;
        enum fit inner = fit_of(value, pc, &other);
        if (is_jits && inner == FIT_DIRECT) continue;
        /* This call leads nearer to the pc, or may lead there while the given one doesn't. A word left over from an
         * earlier call can look the same: then the stack is cut needlessly, and says so. */
        if ((inner == FIT_DIRECT && other > start) || (inner == FIT_UNKNOWN && fit != FIT_DIRECT)) return false;
    }
    return true;
}

uintptr_t called_function(uintptr_t return_address) { return called_before(return_address); }
