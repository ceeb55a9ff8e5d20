/*
 * AArch64: what an instruction does to a frame, and where it goes on.
 */
#include "stacks/measure.h"

enum { HINT_NOP = 0xD503201F, HINT_BTI_C = 0xD503245F, HINT_PACIASP = 0xD503233F, HINT_PACIBSP = 0xD503237F };

static bool is_indirect_call(uint32_t word) {
    return (word & 0xFFFFFC1F) == 0xD63F0000 || (word & 0xFEFFF800) == 0xD63F0800; /* blr; and signed: blraa, … */
}
static bool is_call(uint32_t word) { return (word & 0xFC000000) == 0x94000000 || is_indirect_call(word); }

static int16_t words(int64_t bytes) {
    return bytes >= 0 && bytes % 8 == 0 && bytes < 8 * INT16_MAX ? (int16_t)(bytes / 8) : MEASURED_NOT;
}

/* From the address in a register up to the CFA; MEASURED_NOT if that isn't known. */
static int16_t distance_of(const struct measured *frame, uint8_t number) {
    return number == INSTRUCTION_SP ? frame->depth : number == INSTRUCTION_FP ? frame->fp : MEASURED_NOT;
}

/* x29 gets another value. */
static void set_fp(struct measured *frame, int16_t distance) {
    if (frame->saved == 0) frame->saved = MEASURED_LOST;
    frame->fp = distance;
}

/* What comes is not known to be of this function: it begins as another does. */
static void forget(struct measured *frame) {
    *frame = (struct measured){MEASURED_NOT, MEASURED_NOT, MEASURED_LOST, MEASURED_LOST};
}

/* ---- Loads and stores ------------------------------------------------------------------------------------ */

static int16_t *place_of(struct measured *frame, uint8_t number) {
    return number == INSTRUCTION_LR ? &frame->link : number == INSTRUCTION_FP ? &frame->saved : NULL;
}

/* `below`: words below the CFA; 0 or less if that isn't known, or not in the frame. */
static void store_register(struct measured *frame, uint8_t number, int64_t below) {
    int16_t *place = place_of(frame, number);
    if (place != NULL && *place == 0 && below > 0 && below < INT16_MAX) *place = (int16_t)below;
}

static void load_register(struct measured *frame, uint8_t number, int64_t below) {
    int16_t *place = place_of(frame, number);
    if (place == NULL) return;
    if (*place == 0) *place = MEASURED_LOST;
    else if (*place == below) *place = 0;
    if (number == INSTRUCTION_FP) frame->fp = MEASURED_NOT;
}

/* Whether it is a store that only begins a function: of x30, which holds no return address any more. */
static bool begins_another(const struct measured *frame, const struct access *access) {
    if (access->is_load || !access->is_general || frame->link == 0 || access->base != INSTRUCTION_SP) return false;
    const bool has_link =
        access->registers[0] == INSTRUCTION_LR || (access->count == 2 && access->registers[1] == INSTRUCTION_LR);
    const bool is_pair = access->count == 2 && access->registers[0] == INSTRUCTION_FP;
    return has_link && (is_pair || access->step != 0);
}

static void change_by_access(struct measured *frame, const struct access *access) {
    if (begins_another(frame, access)) return forget(frame);
    const int16_t distance = distance_of(frame, access->base);
    for (uint8_t i = 0; i < access->count; i++) {
        const int64_t bytes = (int64_t)8 * distance - access->offset - 8 * i;
        const bool is_word = distance != MEASURED_NOT && access->is_general && bytes % 8 == 0;
        const int64_t below = is_word ? bytes / 8 : 0;
        if (access->is_load) load_register(frame, access->registers[i], below);
        else store_register(frame, access->registers[i], below);
    }
    if (access->step == 0) return;
    const int16_t moved = distance == MEASURED_NOT ? MEASURED_NOT : words((int64_t)8 * distance - access->step);
    if (access->base == INSTRUCTION_SP) frame->depth = moved;
    else if (access->base == INSTRUCTION_FP) set_fp(frame, moved);
    else if (access->base == INSTRUCTION_LR && frame->link == 0) frame->link = MEASURED_LOST;
}

/* ---- Other instructions ---------------------------------------------------------------------------------- */

/* add and sub of a constant to the stack pointer or the frame pointer, among them `mov x29, sp`. */
static bool change_by_constant(struct measured *frame, uint32_t word) {
    const uint8_t to = word & 31, from = word >> 5 & 31;
    if ((word & 0xBF800000) != 0x91000000 || (to != INSTRUCTION_SP && to != INSTRUCTION_FP)) return false;
    const int64_t bytes = (int64_t)(word >> 10 & 0xFFF) << (word >> 22 & 1 ? 12 : 0);
    const int16_t distance = distance_of(frame, from);
    const bool is_sub = word >> 30 & 1;
    const int16_t moved =
        distance == MEASURED_NOT ? MEASURED_NOT : words((int64_t)8 * distance + (is_sub ? bytes : -bytes));
    if (to == INSTRUCTION_SP) frame->depth = moved;
    else set_fp(frame, moved);
    return true;
}

/* sub sp, sp, x12 and add sp, sp, x12, where the register holds a known number. */
static bool change_by_register(struct measured *frame, const struct constant *constant, uint32_t word) {
    if ((word & 0xBFE0FFFF) != 0x8B2063FF) return false;
    const bool is_known = constant->is_known && constant->number == (word >> 16 & 31) && frame->depth != MEASURED_NOT;
    const int64_t bytes = word >> 30 & 1 ? constant->value : -(int64_t)constant->value;
    frame->depth = is_known ? words((int64_t)8 * frame->depth + bytes) : MEASURED_NOT;
    return true;
}

/* movz and movk. */
static void keep_constant(struct constant *constant, const struct instruction *instruction) {
    const uint32_t word = instruction->word, shift = (word >> 21 & 3) * 16, value = (word >> 5 & 0xFFFF);
    const uint8_t number = word & 31;
    if ((word & 0x7F800000) == 0x52800000 && shift < 32) {
        *constant = (struct constant){true, number, value << shift};
    } else if (constant->is_known && constant->number == number && (word & 0x7F800000) == 0x72800000 && shift < 32) {
        constant->value = (constant->value & ~(0xFFFFu << shift)) | value << shift;
    } else if (instruction_writes(instruction, constant->number)) {
        constant->is_known = false;
    }
}

void measured_change(struct measured *frame, struct constant *constant, const struct instruction *instruction) {
    const uint32_t word = instruction->word;
    if (!instruction_is_known(instruction)) return forget(frame);
    if (is_call(word)) {
        constant->is_known = false;
        if (frame->link == 0) frame->link = MEASURED_LOST;
        return;
    }
    if ((word == HINT_PACIASP || word == HINT_PACIBSP || word == HINT_BTI_C) && frame->link != 0) return forget(frame);
    struct access access;
    if (instruction_access(instruction, &access)) {
        for (uint8_t i = 0; i < access.count; i++)
            if (access.is_load && access.registers[i] == constant->number) constant->is_known = false;
        if (access.base == constant->number) constant->is_known = false; /* it may be moved */
        return change_by_access(frame, &access);
    }
    if (change_by_constant(frame, word) || change_by_register(frame, constant, word)) return;
    keep_constant(constant, instruction);
    if (instruction_writes_sp(instruction)) frame->depth = MEASURED_NOT;
    if (instruction_writes(instruction, INSTRUCTION_FP)) set_fp(frame, MEASURED_NOT);
    if (instruction_writes(instruction, INSTRUCTION_LR) && frame->link == 0) frame->link = MEASURED_LOST;
}

enum flow instruction_flow(const struct instruction *instruction) {
    const uint32_t word = instruction->word;
    if (is_call(word)) return FLOW_CALL;
    if ((word & 0xFC000000) == 0x14000000) return FLOW_JUMP;
    if ((word & 0xFF000000) == 0x54000000 || (word & 0x7C000000) == 0x34000000) return FLOW_BRANCH;
    const bool is_return = (word & 0xFE000000) == 0xD6000000 || (word & 0xFF000000) == 0x55000000; /* or br */
    const bool is_trap = (word & 0xFFE0001F) == 0xD4200000 || (word & 0xFFE0001F) == 0xD4400000 || word >> 16 == 0;
    return is_return || is_trap ? FLOW_END : FLOW_NEXT; /* brk, hlt, udf */
}

bool instruction_is_padding(const struct instruction *instruction) {
    return instruction->word == HINT_NOP || instruction->word == 0;
}
