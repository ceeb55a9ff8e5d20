/*
 * Measuring a frame: goes through a function's instructions and keeps account of what they push. What follows a jump is
 * known only from a branch that leads there, so the function is gone through again while new branches are found. A call
 * may not return, and then what follows it is another block: a branch to it says more.
 */
#include "stacks/x86_64/measure.h"

#include "base/symbols.h"
#include "stacks/x86_64/instruction.h"

#define TARGETS 112 /* places that branches lead to */
#define PASSES 4    /* through one function */
#define JUMPS_ON 2  /* functions that end by a jump to the next, one after the other */
#define LOST (-1)   /* of `saved`: the caller's frame pointer is somewhere else */

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

static bool is_known(const struct measured *frame) { return frame->depth >= 0 || frame->fp >= 0; }

/* Puts what holds on both ways into `*frame`. False if they can't lead to the same instruction. */
static bool merge(struct measured *frame, const struct measured *other) {
    if (frame->depth >= 0 && other->depth >= 0 && frame->depth != other->depth) return false;
    if (frame->depth != other->depth) frame->depth = MEASURED_NOT;
    if (frame->fp != other->fp) frame->fp = MEASURED_NOT;
    if (frame->saved != other->saved) frame->saved = LOST;
    return true;
}

static struct target *target_at(struct way *way, uint32_t at) {
    for (uint32_t i = 0; i < way->count; i++)
        if (way->targets[i].at == at) return &way->targets[i];
    return NULL;
}

static void add_target(struct way *way, int64_t to, const struct measured *frame) {
    if (to < 0 || to >= MEASURED_MOST) {
        /* a jump to another function, which then returns to this one's caller */
        if (frame->depth == 0 && frame->saved == 0 && way->next_function == 0)
            way->next_function = way->start + (uintptr_t)to;
        return;
    }
    struct target *known = target_at(way, (uint32_t)to);
    if (known == NULL) {
        if (way->count == TARGETS) way->is_strange = true;
        else way->targets[way->count++] = (struct target){(uint16_t)to, *frame}, way->is_changed = true;
        return;
    }
    const struct measured before = known->frame;
    if (!merge(&known->frame, frame)) way->is_strange = true;
    way->is_changed |=
        before.depth != known->frame.depth || before.fp != known->frame.fp || before.saved != known->frame.saved;
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

/* ---- What an instruction does ---------------------------------------------------------------------------- */

static void set_depth(struct measured *frame, int64_t bytes) {
    frame->depth = bytes >= 0 && bytes % 8 == 0 && bytes < 8 * INT16_MAX ? (int16_t)(bytes / 8) : MEASURED_NOT;
}

static void push(struct measured *frame, bool is_fp) {
    if (frame->depth < 0) return;
    set_depth(frame, 8 * (frame->depth + 1));
    if (is_fp && frame->saved == 0) frame->saved = frame->depth >= 0 ? frame->depth + 1 : LOST;
}

static void pop(struct measured *frame, bool is_fp) {
    if (is_fp) {
        frame->fp = MEASURED_NOT;
        if (frame->depth >= 0 && frame->saved == frame->depth + 1) frame->saved = 0;
        else if (frame->saved == 0) frame->saved = LOST;
    }
    if (frame->depth >= 0) frame->depth--; /* below 0 it is MEASURED_NOT */
}

/* Forms of `mov` between the two registers, in both of its encodings. */
static bool is_move(const struct instruction *instruction, uint8_t to, uint8_t from) {
    if (instruction->map != MAP_ONE_BYTE || instruction->mode != 3 || !instruction->has_operands) return false;
    return (instruction->opcode == 0x89 && instruction->rm == to && instruction->reg == from)
        || (instruction->opcode == 0x8B && instruction->reg == to && instruction->rm == from);
}

static void change(struct measured *frame, const struct instruction *instruction) {
    const uint8_t opcode = instruction->opcode, operation = instruction->reg & 7;
    const uint8_t low = (opcode & 7) | (instruction->rex & 1) << 3;
    const bool is_one_byte = instruction->map == MAP_ONE_BYTE;
    if (is_one_byte && opcode >= 0x50 && opcode < 0x58) return push(frame, low == INSTRUCTION_RBP);
    if (is_one_byte && opcode >= 0x58 && opcode < 0x60 && low != INSTRUCTION_RSP)
        return pop(frame, low == INSTRUCTION_RBP);
    if (is_one_byte && (opcode == 0x68 || opcode == 0x6A || opcode == 0x9C || (opcode == 0xFF && operation == 6)))
        return push(frame, false);
    if (is_one_byte && opcode == 0x9D) return pop(frame, false);
    if (is_one_byte && opcode == 0x8F) return pop(frame, instruction->mode == 3 && instruction->rm == INSTRUCTION_RBP);
    if (is_one_byte && opcode == 0xC9) { /* leave */
        frame->depth = frame->fp;
        return pop(frame, true);
    }
    const bool is_wide = (instruction->rex & 8) != 0;
    if (is_wide && is_move(instruction, INSTRUCTION_RBP, INSTRUCTION_RSP)) {
        if (frame->saved == 0) frame->saved = LOST;
        frame->fp = frame->depth;
        return;
    }
    if (is_wide && is_move(instruction, INSTRUCTION_RSP, INSTRUCTION_RBP)) {
        frame->depth = frame->fp;
        return;
    }
    if (instruction_writes(instruction, INSTRUCTION_RBP)) {
        frame->fp = MEASURED_NOT;
        if (frame->saved == 0) frame->saved = LOST;
    }
    const bool is_pop = is_one_byte && opcode >= 0x58 && opcode < 0x60;
    if (!is_pop && !instruction_writes(instruction, INSTRUCTION_RSP)) return;
    const bool is_of_constant = is_one_byte && (opcode == 0x83 || opcode == 0x81) && instruction->mode == 3;
    const bool is_address = is_one_byte && opcode == 0x8D && !instruction->has_index && instruction->mode != 3;
    if (is_wide && frame->depth >= 0 && is_of_constant && (operation == 5 || operation == 0))
        set_depth(frame, 8 * frame->depth + (operation == 5 ? instruction->immediate : -instruction->immediate));
    else if (is_wide && frame->depth >= 0 && is_address && instruction->base == INSTRUCTION_RSP)
        set_depth(frame, (int64_t)8 * frame->depth - instruction->displacement);
    else if (is_wide && frame->fp >= 0 && is_address && instruction->base == INSTRUCTION_RBP)
        set_depth(frame, (int64_t)8 * frame->fp - instruction->displacement);
    else frame->depth = MEASURED_NOT;
}

/* Where it goes on. */
enum flow { FLOW_NEXT, FLOW_CALL, FLOW_BRANCH, FLOW_JUMP, FLOW_END };

static enum flow flow_of(const struct instruction *instruction) {
    const uint8_t opcode = instruction->opcode, operation = instruction->reg & 7;
    if (instruction->map == MAP_0F)
        return opcode >= 0x80 && opcode < 0x90 ? FLOW_BRANCH : opcode == 0x0B ? FLOW_END : FLOW_NEXT;
    if (instruction->map != MAP_ONE_BYTE) return FLOW_NEXT;
    if ((opcode >= 0x70 && opcode < 0x80) || (opcode >= 0xE0 && opcode < 0xE4)) return FLOW_BRANCH;
    if (opcode == 0xE9 || opcode == 0xEB) return FLOW_JUMP;
    /* A call of the next instruction only pushes a word. */
    if (opcode == 0xE8) return instruction->immediate == 0 ? FLOW_END : FLOW_CALL;
    if (opcode == 0xFF && operation >= 2 && operation < 6) return operation < 4 ? FLOW_CALL : FLOW_END;
    return opcode == 0xC2 || opcode == 0xC3 || opcode == 0xCC || opcode == 0xF4 ? FLOW_END : FLOW_NEXT;
}

/* What fills up the space before a block at a round address: nop in its forms, int3. */
static bool is_padding(const struct instruction *instruction) {
    return instruction->map == MAP_0F
        ? instruction->opcode == 0x1F
        : instruction->map == MAP_ONE_BYTE && (instruction->opcode == 0x90 || instruction->opcode == 0xCC);
}

/* ---- Through a function ---------------------------------------------------------------------------------- */

struct wanted {
    uint32_t at;
    bool is_return;
};

/* Goes through it once, in the order of addresses, up to `limit`. True if the wanted instruction was met on a known
 * way. */
static bool go_through(struct way *way, struct wanted wanted, uint32_t limit, struct measured *frame) {
    *frame = (struct measured){.depth = 0, .fp = MEASURED_NOT, .saved = 0};
    bool knows = true, is_after_call = false, is_met = false;
    for (uint32_t at = 0; at < limit;) {
        is_met |= at == wanted.at;
        if (at > wanted.at && !is_met) way->is_strange = true; /* it isn't the start of an instruction */
        if (at == wanted.at && wanted.is_return && knows && is_after_call) return true;
        const struct target *target = target_at(way, at);
        if (target != NULL) {
            if (!knows || is_after_call) *frame = target->frame;
            else if (!merge(frame, &target->frame)) way->is_strange = true;
            knows = is_known(frame);
        }
        if (way->is_strange) return false;
        if (at == wanted.at && !wanted.is_return && knows) return true;
        struct instruction instruction;
        if (!read_at(way, at, &instruction)) return false;
        at += instruction.length;
        if (is_after_call && is_padding(&instruction)) knows = false; /* it doesn't return */
        is_after_call = false;
        if (!knows) continue;
        change(frame, &instruction);
        const enum flow flow = flow_of(&instruction);
        is_after_call = flow == FLOW_CALL;
        knows = is_known(frame);
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
            if (go_through(&way, wanted, limit, measured)) return measured->saved != LOST;
            if (way.is_strange || !way.is_changed) break;
        }
        start = way.next_function;
    }
    return false;
}
