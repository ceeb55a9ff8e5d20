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

/* The function that a stub leads to: an entry of a PLT, or a linker's veneer. `function` itself if it is none, and 0 if
 * it can't be read. */
static uintptr_t behind_stub(uintptr_t function) {
    uint32_t code[5];
    if (!memory_fetch(code, function, sizeof code)) return 0;
    const uint32_t *at = is_bti(code[0]) ? code + 1 : code;
    if ((at[0] & 0x9F00001F) != 0x90000010) return function;                                 /* adrp x16 */
    const int64_t pages = (int64_t)((uint64_t)(at[0] >> 5) << 45) >> 43 | (at[0] >> 29 & 3); /* 19 bits, and 2 */
    const uintptr_t page = (function & ~(uintptr_t)4095) + (uintptr_t)(pages * 4096);
    if ((at[1] & 0xFFC003FF) == 0x91000210 && at[2] == 0xD61F0200)
        return page + (at[1] >> 10 & 0xFFF);                                        /* add, br x16 */
    if ((at[1] & 0xFFC003FF) != 0xF9400211 || at[3] != 0xD61F0220) return function; /* ldr x17, and br x17 */
    uintptr_t address;
    return memory_fetch(&address, page + 8 * (at[1] >> 10 & 0xFFF), sizeof address) ? address : 0;
}

/* The function that the call before a return address calls, directly or by a PLT's entry. 0 if that can't be told. */
static uintptr_t called_before(uintptr_t address) {
    uintptr_t target;
    return call_before(address, &target) == CALL_DIRECT ? behind_stub(target) : 0;
}

#endif
