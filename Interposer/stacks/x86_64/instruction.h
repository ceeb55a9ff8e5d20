/*
 * x86-64's instructions (Intel SDM, volume 2, chapter 2 and appendix A), as far as measuring a frame needs them: how
 * long they are, and which register they write. Those of vectors with a VEX prefix, and what compilers don't use, are
 * not understood.
 */
#ifndef HEAPSUM_INSTRUCTION_H
#define HEAPSUM_INSTRUCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSTRUCTION_MOST 15 /* bytes; the processor accepts no longer one */

enum { INSTRUCTION_RSP = 4, INSTRUCTION_RBP = 5 }; /* registers' numbers in instructions */

/* An opcode without and with the bytes before it. */
enum instruction_map { MAP_ONE_BYTE, MAP_0F, MAP_0F38, MAP_0F3A };

struct instruction {
    uint32_t length;
    uint8_t map, opcode;
    uint8_t rex;       /* 0: none */
    bool is_16_bits;   /* has the prefix 66 */
    bool has_operands; /* has the ModRM byte, whose parts follow, with the bits of rex */
    uint8_t mode, reg, rm;
    bool has_index;
    uint8_t base; /* of the address, if mode is not 3; 0xFF: none */
    int32_t displacement;
    int64_t immediate; /* with its sign */
};

/* Reads the instruction at `bytes`, of which `room` may be read. False if it is not understood. Pure. */
bool instruction_read(const uint8_t *bytes, size_t room, struct instruction *instruction);

/* Whether it may write the register, other than by being a push, a pop or a call. Yes if in doubt. Pure. */
bool instruction_writes(const struct instruction *instruction, uint8_t number);

#endif
