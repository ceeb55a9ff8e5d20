/*
 * Measuring a frame: goes through a function's instructions and keeps account of what they push. What follows a jump is
 * known only from a branch that leads there, so the function is gone through again while new branches are found. A call
 * may not return, and then what follows it is another block: a branch to it says more.
 */
#include "stacks/measure.h"

#include "base/symbols.h"

#define TARGETS 112 /* places that branches lead to */
#define PASSES 4    /* through one function */
#define JUMPS_ON 2  /* functions that end by a jump to the next, one after the other */

struct target {
    uint16_t at; /* bytes from the function's start */
    struct measured frame;
};

struct way {
    uintptr_t start;
    struct target targets[TARGETS];
    uint32_t count;
    bool is_changed, is_strange;
    uintptr_t next_function; /* that it ends by a jump to; 0: none */
    uintptr_t window_start;
    uint32_t window_bytes;
    uint8_t window[96];
};

static struct target *target_at(struct way *way, uint32_t at) {
    for (uint32_t i = 0; i < way->count; i++)
        if (way->targets[i].at == at) return &way->targets[i];
    return NULL;
}

static void add_target(struct way *way, int64_t to, const struct measured *frame) {
    if (to < 0 || to >= MEASURED_MOST) {
        /* a jump to another function, which then returns to this one's caller */
        if (measured_is_first(frame) && way->next_function == 0) way->next_function = way->start + (uintptr_t)to;
        return;
    }
    struct target *known = target_at(way, (uint32_t)to);
    if (known == NULL) {
        if (way->count == TARGETS) way->is_strange = true;
        else way->targets[way->count++] = (struct target){(uint16_t)to, *frame}, way->is_changed = true;
        return;
    }
    const struct measured before = known->frame;
    if (!measured_merge(&known->frame, frame)) way->is_strange = true;
    way->is_changed |= measured_differs(&before, &known->frame);
}

static bool read_at(struct way *way, uint32_t at, struct instruction *instruction) {
    const uintptr_t from = way->start + at;
    if (from < way->window_start || from + INSTRUCTION_MOST > way->window_start + way->window_bytes) {
        /* at the end of a mapping only what is there */
        uint32_t bytes = sizeof way->window;
        const uint32_t on_page = 4096 - (uint32_t)(from & 4095);
        if (!memory_fetch(way->window, from, bytes)) {
            if (on_page >= bytes || !memory_fetch(way->window, from, on_page)) return false;
            bytes = on_page;
        }
        way->window_start = from;
        way->window_bytes = bytes;
    }
    const uint32_t skip = (uint32_t)(from - way->window_start);
    return instruction_read(way->window + skip, way->window_bytes - skip, instruction);
}

/* ---- Through a function ---------------------------------------------------------------------------------- */

struct wanted {
    uint32_t at;
    bool is_return;
};

/* Goes through it once, in the order of addresses, up to `limit`. True if the wanted instruction was met on a known
 * way. */
static bool go_through(struct way *way, struct wanted wanted, uint32_t limit, struct measured *frame) {
    struct constant constant = {0};
    *frame = MEASURED_FIRST;
    bool knows = true, is_after_call = false, is_met = false;
    for (uint32_t at = 0; at < limit;) {
        is_met |= at == wanted.at;
        if (at > wanted.at && !is_met) way->is_strange = true; /* it isn't the start of an instruction */
        if (at == wanted.at && wanted.is_return && knows && is_after_call) return true;
        const struct target *target = target_at(way, at);
        if (target != NULL) {
            constant.is_known = false;
            if (!knows || is_after_call) *frame = target->frame;
            else if (!measured_merge(frame, &target->frame)) way->is_strange = true;
            knows = measured_is_known(frame);
        }
        if (way->is_strange) return false;
        if (at == wanted.at && !wanted.is_return && knows) return true;
        struct instruction instruction;
        if (!read_at(way, at, &instruction)) return false;
        at += instruction.length;
        if (is_after_call && instruction_is_padding(&instruction)) knows = false; /* it doesn't return */
        is_after_call = false;
        if (!knows) continue;
        measured_change(frame, &constant, &instruction);
        const enum flow flow = instruction_flow(&instruction);
        is_after_call = flow == FLOW_CALL;
        knows = measured_is_known(frame);
        if (knows && (flow == FLOW_BRANCH || flow == FLOW_JUMP))
            add_target(way, (int64_t)at + instruction.immediate, frame);
        if (flow == FLOW_JUMP || flow == FLOW_END) knows = false;
    }
    return false;
}

bool measure_frame(uintptr_t start, uintptr_t pc, bool is_return, struct measured *measured) {
    struct way way;
    for (int function = 0; function <= JUMPS_ON && start != 0; function++) {
        way.start = start;
        way.count = way.window_bytes = 0;
        way.window_start = way.next_function = 0;
        way.is_strange = false;
        const bool is_near = pc >= start && pc - start < MEASURED_MOST;
        const struct wanted wanted = {is_near ? (uint32_t)(pc - start) : MEASURED_MOST, is_return};
        /* of a function that only jumps on, its first instructions say so */
        const uint32_t limit = is_near ? MEASURED_MOST : 256;
        for (int pass = 0; pass < PASSES; pass++) {
            way.is_changed = false;
            if (go_through(&way, wanted, limit, measured)) return measured_is_whole(measured);
            if (way.is_strange || !way.is_changed) break;
        }
        start = way.next_function;
    }
    return false;
}
