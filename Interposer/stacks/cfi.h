/*
 * Call frame information: finds the row of .eh_frame that applies to a pc (cfi.c), and steps by it (cfi_step.c): DWARF
 * 5, 6.4; Linux Standard Base, "Exception Frames" for .eh_frame and .eh_frame_hdr. No allocation, no lock.
 */
#ifndef HEAPSUM_CFI_H
#define HEAPSUM_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/machine.h"

#define CFI_REGISTERS DWARF_REGISTERS

enum cfi_rule_kind {
    CFI_UNSPECIFIED = 0, /* the ABI's convention: unchanged if calls preserve the register */
    CFI_UNDEFINED,
    CFI_SAME,
    CFI_OFFSET,       /* saved at CFA + value */
    CFI_VALUE_OFFSET, /* is CFA + value */
    CFI_REGISTER,     /* in register `value` */
    CFI_EXPRESSION,   /* saved at the expression's value */
    CFI_VALUE_EXPRESSION,
};

struct cfi_rule {
    const uint8_t *expression; /* the expression's bytes … */
    int64_t value;             /* … and their number; for other kinds the offset or the register */
    uint8_t kind;
};

/* One row: how to find the caller's registers at a pc. */
struct cfi_row {
    struct cfi_rule registers[CFI_REGISTERS];
    const uint8_t *cfa_expression; /* NULL: the CFA is a register and an offset */
    int64_t cfa_offset;            /* or the expression's length */
    uint32_t cfa_register;
    uint32_t return_register;
    bool is_signal_frame;
};

/* Work space for the instructions that remember rows. Too large for a small stack. */
struct cfi_space {
    struct cfi_row row;
    struct cfi_row initial;
    struct cfi_row remembered[4];
};

/* Registers, by their DWARF numbers; [DWARF_PC] is the pc. */
struct cfi_registers {
    uint64_t values[CFI_REGISTERS];
};

/* Memory that may be read: the stack from the innermost frame outwards. */
struct cfi_bounds {
    uintptr_t low, high;
};

/* Finds the row for `pc`, the address of the instruction and not of the next one, and writes it to space->row. False if
 * there is none. */
bool cfi_find_row(uintptr_t pc, struct cfi_space *space);

/* Whether there is call frame information for the instruction at `pc`. */
bool cfi_has_entry(uintptr_t pc);

/* The value of an expression. False if it reads out of bounds or uses an operation that CFI doesn't have. */
bool cfi_evaluate(const uint8_t *expression, int64_t length, const struct cfi_registers *registers,
    struct cfi_bounds bounds, uint64_t *result);

/* Steps from a frame to its caller by `row`. False if that is impossible. */
bool cfi_step(const struct cfi_row *row, struct cfi_registers *registers, struct cfi_bounds bounds);

/* Reading numbers: of `bytes` bytes, and in LEB128 (DWARF 5, 7.6). Behind the end: 0. */
uint64_t cfi_fixed(const uint8_t **at, const uint8_t *end, size_t bytes);
int64_t cfi_signed(const uint8_t **at, const uint8_t *end);
uint64_t cfi_unsigned(const uint8_t **at, const uint8_t *end);

#endif
