/*
 * x86-64: what an instruction does to a frame, and where it goes on.
 */
#include "stacks/measure.h"

static void set_depth(struct measured *frame, int64_t bytes) {
    frame->depth = bytes >= 0 && bytes % 8 == 0 && bytes < 8 * INT16_MAX ? (int16_t)(bytes / 8) : MEASURED_NOT;
}

static void push(struct measured *frame, bool is_fp) {
    if (frame->depth < 0) return;
    set_depth(frame, 8 * (frame->depth + 1));
    if (is_fp && frame->saved == 0) frame->saved = frame->depth >= 0 ? frame->depth + 1 : MEASURED_LOST;
}

static void pop(struct measured *frame, bool is_fp) {
    if (is_fp) {
        frame->fp = MEASURED_NOT;
        if (frame->depth >= 0 && frame->saved == frame->depth + 1) frame->saved = 0;
        else if (frame->saved == 0) frame->saved = MEASURED_LOST;
    }
    if (frame->depth >= 0) frame->depth--; /* below 0 it is MEASURED_NOT */
}

/* Forms of `mov` between the two registers, in both of its encodings. */
static bool is_move(const struct instruction *instruction, uint8_t to, uint8_t from) {
    if (instruction->map != MAP_ONE_BYTE || instruction->mode != 3 || !instruction->has_operands) return false;
    return (instruction->opcode == 0x89 && instruction->rm == to && instruction->reg == from)
        || (instruction->opcode == 0x8B && instruction->reg == to && instruction->rm == from);
}

void measured_change(struct measured *frame, struct constant *constant, const struct instruction *instruction) {
    (void)constant;
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
        if (frame->saved == 0) frame->saved = MEASURED_LOST;
        frame->fp = frame->depth;
        return;
    }
    if (is_wide && is_move(instruction, INSTRUCTION_RSP, INSTRUCTION_RBP)) {
        frame->depth = frame->fp;
        return;
    }
    if (instruction_writes(instruction, INSTRUCTION_RBP)) {
        frame->fp = MEASURED_NOT;
        if (frame->saved == 0) frame->saved = MEASURED_LOST;
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

enum flow instruction_flow(const struct instruction *instruction) {
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

/* nop in its forms, int3. */
bool instruction_is_padding(const struct instruction *instruction) {
    return instruction->map == MAP_0F
        ? instruction->opcode == 0x1F
        : instruction->map == MAP_ONE_BYTE && (instruction->opcode == 0x90 || instruction->opcode == 0xCC);
}
