/*
 * AArch64's instructions (Arm Architecture Reference Manual, C4.1), as far as measuring a frame needs them: what they
 * load and store by the stack pointer and the frame pointer, and which registers they write. Those of SVE and SME are
 * not understood.
 */
#ifndef HEAPSUM_INSTRUCTION_AARCH64_H
#define HEAPSUM_INSTRUCTION_AARCH64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSTRUCTION_MOST 4 /* bytes; all have as many */

enum { INSTRUCTION_FP = 29, INSTRUCTION_LR = 30, INSTRUCTION_SP = 31 }; /* registers' numbers in instructions */

struct instruction {
    uint32_t length;
    uint32_t word;
    int64_t immediate; /* of a direct branch: how far it leads from the next instruction, in bytes */
};

/* Reads the instruction at `bytes`, of which `room` may be read. False if there are too few. Pure. */
bool instruction_read(const uint8_t *bytes, size_t room, struct instruction *instruction);

/* Of a load or a store by a register and a constant. */
struct access {
    bool is_load;
    bool is_general;      /* general registers of 8 bytes: else those of vectors, or shorter */
    uint8_t count;        /* of registers, 1 or 2; 0: none that matters */
    uint8_t registers[2]; /* their numbers; the second lies above the first */
    uint8_t base;         /* the register that holds the address */
    int32_t offset;       /* from the base as it was before */
    int32_t step;         /* by which the base is moved; 0: it isn't */
};

/* False if the instruction is of another kind. Pure. */
bool instruction_access(const struct instruction *instruction, struct access *access);

/* Whether an instruction other than such an access or a call may write x`number`, or the stack pointer. Yes if in
 * doubt. Pure. */
bool instruction_writes(const struct instruction *instruction, uint8_t number);
bool instruction_writes_sp(const struct instruction *instruction);

/* Whether it is of a kind that this file knows. Pure. */
bool instruction_is_known(const struct instruction *instruction);

#endif
