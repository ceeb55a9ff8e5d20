/*
 * AArch64's instructions: decoding.
 */
#include "stacks/aarch64/instruction.h"

#include <string.h>

/* `bits` of the word from `shift` on, with their sign. */
static int64_t signed_field(uint32_t word, unsigned shift, unsigned bits) {
    return (int64_t)((uint64_t)word << (64 - bits - shift)) >> (64 - bits);
}
static uint8_t register_at(uint32_t word, unsigned shift) { return word >> shift & 31; }

bool instruction_read(const uint8_t *bytes, size_t room, struct instruction *instruction) {
    uint32_t word;
    if (room < sizeof word) return false;
    memcpy(&word, bytes, sizeof word);
    *instruction = (struct instruction){.length = sizeof word, .word = word};
    int64_t distance = 0;
    if ((word & 0x7C000000) == 0x14000000) distance = signed_field(word, 0, 26);      /* b, bl */
    else if ((word & 0xFF000000) == 0x54000000) distance = signed_field(word, 5, 19); /* b.cond */
    else if ((word & 0x7E000000) == 0x34000000) distance = signed_field(word, 5, 19); /* cbz, cbnz */
    else if ((word & 0x7E000000) == 0x36000000) distance = signed_field(word, 5, 14); /* tbz, tbnz */
    instruction->immediate = 4 * distance - 4;
    return true;
}

/* ---- Loads and stores ------------------------------------------------------------------------------------ */

enum { STEP_BEHIND = 1, STEP_BEFORE = 3 }; /* how the base is moved: after the access, before it */

static bool is_access_to_pair(uint32_t word, struct access *access) {
    const bool is_vector = word >> 26 & 1;
    const uint32_t form = word >> 30, mode = word >> 23 & 3;
    if (form == 3) return false;
    access->is_load = word >> 22 & 1;
    /* ldpsw has words of 4 bytes, and its store is stgp, of 16 */
    const int32_t bytes = is_vector ? 4 << form : form == 2 ? 8 : form == 1 && !access->is_load ? 16 : 4;
    const int32_t distance = (int32_t)signed_field(word, 15, 7) * bytes;
    access->is_general = !is_vector && form == 2;
    access->count = is_vector ? 0 : 2;
    access->registers[1] = register_at(word, 10);
    access->offset = mode == STEP_BEHIND ? 0 : distance;
    access->step = mode & 1 ? distance : 0;
    return true;
}

static bool is_access_to_one(uint32_t word, struct access *access) {
    const bool is_vector = word >> 26 & 1;
    const uint32_t size = word >> 30, form = word >> 22 & 3, mode = word >> 10 & 3;
    access->is_load = is_vector ? form & 1 : form != 0;
    access->is_general = !is_vector && size == 3 && form < 2;
    access->count = is_vector || (size == 3 && form > 1) ? 0 : 1; /* prfm loads nothing */
    if (word >> 24 & 1) {
        access->offset = (int32_t)((word >> 10 & 0xFFF) << (is_vector && form > 1 ? 4 : size));
        return true;
    }
    if (word >> 21 & 1) return false; /* by an index, or atomic */
    const int32_t distance = (int32_t)signed_field(word, 12, 9);
    access->offset = mode == STEP_BEHIND ? 0 : distance;
    access->step = mode & 1 ? distance : 0;
    return true;
}

bool instruction_access(const struct instruction *instruction, struct access *access) {
    const uint32_t word = instruction->word;
    *access = (struct access){.registers = {register_at(word, 0)}, .base = register_at(word, 5)};
    if ((word & 0x3A000000) == 0x28000000) return is_access_to_pair(word, access);
    return (word & 0x3A000000) == 0x38000000 && is_access_to_one(word, access);
}

/* ---- What is written ------------------------------------------------------------------------------------- */

/* The classes of instructions (C4.1), by four bits. */
#define CLASS(word) ((word) >> 25 & 15)

bool instruction_is_known(const struct instruction *instruction) {
    switch (CLASS(instruction->word)) {
        case 0: return instruction->word >> 16 == 0; /* udf; else SME's */
        case 1:
        case 2: /* SVE */
        case 3: return false;
        case 10:
        case 11: return (instruction->word & 0x7C000000) != 0x74000000; /* compares and branches of Armv9.6 */
        default: return true;
    }
}

static bool is_in_any_field(uint32_t word, uint8_t number) {
    return register_at(word, 0) == number || register_at(word, 5) == number || register_at(word, 10) == number
        || register_at(word, 16) == number;
}

bool instruction_writes(const struct instruction *instruction, uint8_t number) {
    const uint32_t word = instruction->word;
    const bool is_first = register_at(word, 0) == number;
    switch (CLASS(word)) {
        case 5:
        case 8:
        case 9:
        case 13: return is_first; /* data processing */
        case 10:
        case 11: /* mrs, mrrs, sysl */
            return ((word & 0xFFE00000) == 0xD5200000 || (word & 0xFF600000) == 0xD5600000)
                && (is_first || register_at(word, 0) + 1 == number);
        case 4:
        case 12: return is_in_any_field(word, number); /* exclusive and ordered, tags, atomic, by an index */
        case 6:
        case 14: return is_in_any_field(word, number); /* those of vectors move the base alone */
        case 7:
        case 15: { /* vectors: conversions to integers, and moves to general registers */
            const bool is_conversion = (word & 0x7F20FC00) == 0x1E200000 || (word & 0x7F200000) == 0x1E000000;
            return is_first && (is_conversion || (word & 0xBFE0EC00) == 0x0E002C00);
        }
        default: return false;
    }
}

bool instruction_writes_sp(const struct instruction *instruction) {
    const uint32_t word = instruction->word;
    const bool is_first = register_at(word, 0) == INSTRUCTION_SP, is_base = register_at(word, 5) == INSTRUCTION_SP;
    switch (CLASS(word)) {
        case 8:
        case 9: {
            const uint32_t kind = word >> 23 & 7; /* add and sub, without flags; with tags; bits, without flags */
            return is_first && ((kind == 2 && !(word >> 29 & 1)) || kind == 3 || (kind == 4 && (word >> 29 & 3) != 3));
        }
        case 5:
        case 13: /* add and sub with an extended register, without flags; irg */
            return is_first && ((word & 0x3F200000) == 0x0B200000 || (word & 0xFFE0FC00) == 0x9AC01000);
        case 6:
        case 14: return is_base && ((word & 0xBF800000) == 0x0C800000 || (word & 0xBF800000) == 0x0D800000);
        case 4:
        case 12: /* stg and the like, ldraa */
            return is_base && (((word & 0xFF200000) == 0xD9200000) || (word & 0xFF200C00) == 0xF8200C00);
        default: return false;
    }
}
