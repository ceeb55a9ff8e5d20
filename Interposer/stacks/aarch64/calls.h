/*
 * Calls and jumps on AArch64: bl, blr and its forms with pointer authentication, b, and the entries of a PLT (Arm
 * Architecture Reference Manual, C6.2).
 */
#ifndef HEAPSUM_CALLS_AARCH64_H
#define HEAPSUM_CALLS_AARCH64_H

#include "base/symbols.h"

static inline bool is_bti(uint32_t instruction) { return (instruction & 0xFFFFFF3F) == 0xD503241F; }

/* The call that ends at the address, and the target if it is direct. */
static enum call call_before(uintptr_t address, uintptr_t *target) {
    uint32_t instruction;
    if (address % 4 != 0 || !memory_fetch(&instruction, address - 4, sizeof instruction)) return CALL_NONE;
    if ((instruction & 0xFFFFFC1F) == 0xD63F0000 || (instruction & 0xFEFFF800) == 0xD63F0800) return CALL_INDIRECT;
    if ((instruction & 0xFC000000) != 0x94000000) return CALL_NONE;
    int64_t distance = (int64_t)((uint64_t)instruction << 38) >> 36; /* 26 bits, in instructions */
    *target = address - 4 + (uintptr_t)distance;
    return CALL_DIRECT;
}

/* Whether a function begins with a jump, maybe after a landing pad: a thunk, or an entry of a PLT or a veneer, which
 * begin by putting a page's address into x16. */
static bool is_jump(uintptr_t function) {
    uint32_t code[2];
    if (!memory_fetch(code, function, sizeof code)) return false;
    uint32_t first = is_bti(code[0]) ? code[1] : code[0];
    return (first & 0xFC000000) == 0x14000000 || (first & 0x9F00001F) == 0x90000010;
}

#endif
