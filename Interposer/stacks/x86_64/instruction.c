/*
 * Reading x86-64's instructions.
 */
#include "stacks/x86_64/instruction.h"

#include <string.h>

/*
 * What follows an opcode: . nothing; m the ModRM byte with its address; b an immediate byte; i an immediate word of 4
 * bytes (2 with the prefix 66); B and I: m, and then b or i; w 2 bytes; q 8 bytes; v an immediate of the operand's
 * size; g: m, and for the first two operations of the group b or i; ! not understood.
 */
static const char one_byte[] = "mmmmbi!!mmmmbi!!" /* 00 */
                               "mmmmbi!!mmmmbi!!"
                               "mmmmbi!!mmmmbi!!"
                               "mmmmbi!!mmmmbi!!"
                               "!!!!!!!!!!!!!!!!" /* 40: REX */
                               "................"
                               "!!!m!!!!iIbB...."
                               "bbbbbbbbbbbbbbbb"
                               "BI!Bmmmmmmmmmmmm" /* 80 */
                               "..........!....."
                               "qqqq....bi......"
                               "bbbbbbbbvvvvvvvv"
                               "BBw.!!BI!.!!.b!!" /* C0 */
                               "mmmm!!!.mmmmmmmm"
                               "bbbbbbbbii!b...."
                               "!!!!..gg......mm";
static const char after_0f[] = "mmmm!.....!.!m.!" /* 00 */
                               "mmmmmmmmmmmmmmmm"
                               "!!!!!!!!mmmmmmmm"
                               "......!.!!!!!!!!"
                               "mmmmmmmmmmmmmmmm" /* 40 */
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "BBBBmmm.mm!!mmmm"
                               "iiiiiiiiiiiiiiii" /* 80 */
                               "mmmmmmmmmmmmmmmm"
                               "!!.mBm!!!!.mBmmm"
                               "mmmmmmmmmmBmmmmm"
                               "mmBmBBBm........" /* C0 */
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm"
                               "mmmmmmmmmmmmmmmm";

static bool is_prefix(uint8_t byte) {
    return byte == 0x66 || byte == 0xF0 || byte == 0xF2 || byte == 0xF3 || byte == 0x2E || byte == 0x36 || byte == 0x3E
        || byte == 0x26 || byte == 0x64 || byte == 0x65;
}

/* A little-endian number with its sign. */
static int64_t number_at(const uint8_t *at, size_t bytes) {
    uint64_t value = 0;
    memcpy(&value, at, bytes);
    const uint32_t unused = 64 - 8 * (uint32_t)bytes;
    return (int64_t)(value << unused) >> unused;
}

/* Reads the ModRM byte and what belongs to it; the number of bytes, or 0. */
static size_t read_operands(const uint8_t *at, size_t room, struct instruction *instruction) {
    if (room < 2) return 0;
    size_t bytes = 1, displacement = 0;
    instruction->has_operands = true;
    instruction->mode = at[0] >> 6;
    instruction->reg = (at[0] >> 3 & 7) | (instruction->rex & 4) << 1;
    const uint8_t low = at[0] & 7;
    instruction->rm = low | (instruction->rex & 1) << 3;
    if (instruction->mode == 3) return 1;
    uint8_t base = low;
    instruction->base = instruction->rm;
    if (low == 4) { /* the SIB byte follows */
        base = at[1] & 7;
        instruction->base = base | (instruction->rex & 1) << 3;
        instruction->has_index = (at[1] >> 3 & 7) != 4 || (instruction->rex & 2) != 0;
        bytes++;
    }
    if (instruction->mode == 0 && base == 5) {
        instruction->base = 0xFF;
        displacement = 4;
    } else if (instruction->mode != 0) {
        displacement = instruction->mode == 1 ? 1 : 4;
    }
    if (room < bytes + displacement) return 0;
    if (displacement != 0) instruction->displacement = (int32_t)number_at(at + bytes, displacement);
    return bytes + displacement;
}

static size_t immediate_bytes(char form, const struct instruction *instruction) {
    const bool is_branch = instruction->map == MAP_0F || instruction->opcode == 0xE8 || instruction->opcode == 0xE9;
    const size_t word = instruction->is_16_bits && !is_branch ? 2 : 4;
    switch (form) {
        case 'b':
        case 'B': return 1;
        case 'i':
        case 'I': return word;
        case 'w': return 2;
        case 'q': return 8;
        case 'v': return (instruction->rex & 8) != 0 ? 8 : word;
        case 'g': return (instruction->reg & 7) > 1 ? 0 : instruction->opcode == 0xF6 ? 1 : word;
        default: return 0;
    }
}

bool instruction_read(const uint8_t *bytes, size_t room, struct instruction *instruction) {
    *instruction = (struct instruction){.base = 0xFF};
    if (room > INSTRUCTION_MOST) room = INSTRUCTION_MOST;
    size_t at = 0;
    for (; at < room && is_prefix(bytes[at]); at++) instruction->is_16_bits |= bytes[at] == 0x66;
    if (at < room && (bytes[at] & 0xF0) == 0x40) instruction->rex = bytes[at++];
    if (at + 3 > room) return false;
    if (bytes[at] == 0x0F) {
        at++;
        instruction->map = bytes[at] == 0x38 ? MAP_0F38 : bytes[at] == 0x3A ? MAP_0F3A : MAP_0F;
        if (instruction->map != MAP_0F) at++;
    }
    const uint8_t opcode = instruction->opcode = bytes[at++];
    const char form = instruction->map == MAP_ONE_BYTE ? one_byte[opcode]
        : instruction->map == MAP_0F                   ? after_0f[opcode]
        : instruction->map == MAP_0F38                 ? 'm'
                                                       : 'B';
    if (form == '!') return false;
    if (form == 'm' || form == 'B' || form == 'I' || form == 'g') {
        const size_t operands = read_operands(bytes + at, room - at, instruction);
        if (operands == 0) return false;
        at += operands;
    }
    const size_t immediate = immediate_bytes(form, instruction);
    if (at + immediate > room) return false;
    if (immediate != 0) instruction->immediate = number_at(bytes + at, immediate);
    instruction->length = (uint32_t)(at + immediate);
    return true;
}

/* ---- What is written ------------------------------------------------------------------------------------- */

enum written { WRITES_NOTHING, WRITES_REG, WRITES_RM, WRITES_BOTH, WRITES_OPCODES };

static enum written written_by_one_byte(const struct instruction *instruction) {
    const uint8_t opcode = instruction->opcode, operation = instruction->reg & 7;
    if (opcode < 0x38) return (opcode & 6) == 0 ? WRITES_RM : (opcode & 6) == 2 ? WRITES_REG : WRITES_NOTHING;
    if (opcode >= 0x90 && opcode < 0x98) return WRITES_OPCODES;
    if (opcode >= 0xB0 && opcode < 0xC0) return WRITES_OPCODES;
    switch (opcode) {
        case 0x63:
        case 0x69:
        case 0x6B:
        case 0x8A:
        case 0x8B:
        case 0x8D: return WRITES_REG;
        case 0x80:
        case 0x81:
        case 0x83: return operation == 7 ? WRITES_NOTHING : WRITES_RM;
        case 0x86:
        case 0x87: return WRITES_BOTH;
        case 0x88:
        case 0x89:
        case 0x8C:
        case 0xC0:
        case 0xC1:
        case 0xC6:
        case 0xC7:
        case 0xD0:
        case 0xD1:
        case 0xD2:
        case 0xD3: return WRITES_RM;
        case 0xF6:
        case 0xF7: return operation == 2 || operation == 3 ? WRITES_RM : WRITES_NOTHING;
        case 0xFE: return WRITES_RM;
        case 0xFF: return operation < 2 ? WRITES_RM : WRITES_NOTHING;
        default: return WRITES_NOTHING;
    }
}

static enum written written_after_0f(uint8_t opcode) {
    if (opcode >= 0x90 && opcode < 0xA0) return WRITES_RM;
    if (opcode >= 0xC8 && opcode < 0xD0) return WRITES_OPCODES;
    if (opcode >= 0x40 && opcode < 0x50) return WRITES_REG;
    switch (opcode) {
        case 0x02:
        case 0x03:
        case 0x2C:
        case 0x2D:
        case 0x50:
        case 0xAF:
        case 0xB6:
        case 0xB7:
        case 0xB8:
        case 0xBC:
        case 0xBD:
        case 0xBE:
        case 0xBF:
        case 0xC5:
        case 0xD7: return WRITES_REG;
        case 0x00:
        case 0x01:
        case 0x7E:
        case 0xA4:
        case 0xA5:
        case 0xAB:
        case 0xAC:
        case 0xAD:
        case 0xAE:
        case 0xB0:
        case 0xB1:
        case 0xB3:
        case 0xBA:
        case 0xBB:
        case 0xC7: return WRITES_RM;
        case 0xC0:
        case 0xC1: return WRITES_BOTH;
        default: return WRITES_NOTHING;
    }
}

bool instruction_writes(const struct instruction *instruction, uint8_t number) {
    const enum written written = instruction->map == MAP_ONE_BYTE ? written_by_one_byte(instruction)
        : instruction->map == MAP_0F                              ? written_after_0f(instruction->opcode)
                                                                  : WRITES_BOTH;
    const bool writes_rm = written == WRITES_RM || written == WRITES_BOTH;
    if (writes_rm && instruction->mode == 3 && instruction->rm == number) return true;
    if ((written == WRITES_REG || written == WRITES_BOTH) && instruction->reg == number) return true;
    return written == WRITES_OPCODES && ((instruction->opcode & 7) | (instruction->rex & 1) << 3) == number;
}
