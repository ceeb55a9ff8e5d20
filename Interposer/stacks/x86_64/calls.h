/*
 * Calls and jumps on x86-64: the forms of `call` (Intel SDM, volume 2, CALL).
 */
#ifndef HEAPSUM_CALLS_X86_64_H
#define HEAPSUM_CALLS_X86_64_H

#include <string.h>

#include "base/symbols.h"

#define CALL_MOST 7 /* bytes of the longest call, without prefixes */

/* Whether a call through a register or a word of memory (FF /2), `length` bytes long, ends at `end`. */
static bool is_indirect(const uint8_t *end, int length) {
    const uint8_t *at = end - length;
    if (at[0] != 0xFF || (at[1] & 0x38) != 0x10) return false;
    uint32_t mode = at[1] >> 6, base = at[1] & 7;
    int bytes = 2;
    if (mode != 3 && base == 4) { /* with a scaled index; a base of 5 means no base, and a displacement */
        bytes++;
        if (mode == 0 && (at[2] & 7) == 5) bytes += 4;
    } else if (mode == 0 && base == 5) { /* relative to the instruction pointer */
        bytes += 4;
    }
    bytes += mode == 1 ? 1 : mode == 2 ? 4 : 0;
    return bytes == length;
}

/* The call that ends at the address, and the target if it is direct. */
static enum call call_before(uintptr_t address, uintptr_t *target) {
    uint8_t bytes[CALL_MOST];
    if (!memory_fetch(bytes, address - CALL_MOST, CALL_MOST)) return CALL_NONE;
    const uint8_t *end = bytes + CALL_MOST;
    for (int length = 2; length <= CALL_MOST; length++)
        if (is_indirect(end, length)) return CALL_INDIRECT;
    if (end[-5] != 0xE8) return CALL_NONE;
    int32_t distance;
    memcpy(&distance, end - 4, sizeof distance);
    *target = address + (uintptr_t)(intptr_t)distance;
    return CALL_DIRECT;
}

/* Whether a function begins with a jump, maybe after an endbr64: an entry of a PLT, or a thunk. */
static bool is_jump(uintptr_t function) {
    static const uint8_t endbr64[] = {0xF3, 0x0F, 0x1E, 0xFA};
    uint8_t bytes[8];
    if (!memory_fetch(bytes, function, sizeof bytes)) return false;
    const uint8_t *at = memcmp(bytes, endbr64, sizeof endbr64) == 0 ? bytes + sizeof endbr64 : bytes;
    if (*at == 0xF2) at++; /* bnd */
    return *at == 0xE9 || *at == 0xEB || (at[0] == 0xFF && (at[1] & 0x38) == 0x20);
}

/* The address in the word of memory that an instruction's last four bytes lead to, from the instruction's end. */
static uintptr_t address_in_word(const uint8_t *distance, uintptr_t end) {
    int32_t bytes;
    uintptr_t address;
    memcpy(&bytes, distance, sizeof bytes);
    return memory_fetch(&address, end + (uintptr_t)(intptr_t)bytes, sizeof address) ? address : 0;
}

/* The function that an entry of a PLT leads to; `function` itself if it is none, and 0 if it can't be read. */
static uintptr_t behind_stub(uintptr_t function) {
    static const uint8_t endbr64[] = {0xF3, 0x0F, 0x1E, 0xFA};
    uint8_t bytes[12];
    if (!memory_fetch(bytes, function, sizeof bytes)) return 0;
    const uint8_t *at = memcmp(bytes, endbr64, sizeof endbr64) == 0 ? bytes + sizeof endbr64 : bytes;
    if (*at == 0xF2) at++; /* bnd */
    if (at[0] != 0xFF || at[1] != 0x25) return function;
    return address_in_word(at + 2, function + (uintptr_t)(at - bytes) + 6);
}

/* The function that the call before a return address calls, directly, by a PLT's entry, or by an address in a GOT. 0 if
 * that can't be told. */
static uintptr_t called_before(uintptr_t address) {
    uint8_t bytes[6];
    int32_t distance;
    if (!memory_fetch(bytes, address - sizeof bytes, sizeof bytes)) return 0;
    if (bytes[0] == 0xFF && bytes[1] == 0x15) return address_in_word(bytes + 2, address);
    if (bytes[1] != 0xE8) return 0;
    memcpy(&distance, bytes + 2, sizeof distance);
    return behind_stub(address + (uintptr_t)(intptr_t)distance);
}

#endif
