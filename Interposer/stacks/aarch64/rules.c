/*
 * AArch64: makes rules from call frame information, and of code that has none: the return from a signal handler, and
 * stubs that jump on.
 */
#include "stacks/rules.h"

#include "base/symbols.h"

static bool fits(int64_t offset) { return offset % 16 == 0 && offset >= 0 && offset <= RULE_OFFSET_MOST; }

/* Whether a distance below the CFA fits a rule's slot, in units. */
static bool is_slot(int64_t distance, int64_t unit) {
    return distance % unit == 0 && distance > 0 && distance < unit << RULE_SLOT_BITS;
}

/*
 * Whether `address` is where a signal handler returns to. The kernel's code for that has no call frame information
 * since Linux 5.9, and qemu's never had: it is known by its two instructions.
 */
static bool is_signal_return(uintptr_t address) {
    static const uint32_t mov_x8_rt_sigreturn = 0xD2801168, svc = 0xD4000001;
    uint32_t code[2];
    return memory_fetch(code, address, sizeof code) && code[0] == mov_x8_rt_sigreturn && code[1] == svc;
}

#define STUB_MOST 6                             /* instructions of the longest entry of a PLT */
static const uint32_t stp_x16_x30 = 0xA9BF7BF0; /* stp x16, x30, [sp, #-16]! begins the PLT's first entry */

/* Whether it is one of the instructions of stubs: of a PLT's entries, in all their forms, and of a linker's veneers. */
static bool is_stubs(uint32_t instruction) {
    return (instruction & 0x9F00001F) == 0x90000010 /* adrp x16 */
        || (instruction & 0xFFC003FF) == 0xF9400211 /* ldr x17, [x16] */
        || (instruction & 0xFFC003FF) == 0x91000210 /* add x16, x16 */
        || instruction == 0xD503245F                /* bti c */
        || instruction == 0xD503219F                /* autia1716 */
        || instruction == 0xD503201F                /* nop */
        || instruction == stp_x16_x30;
}

/* Whether a signal interrupted a stub: linkers write no call frame information for theirs. It leaves x30 alone;
 * `*pushed` is how far it has moved the stack pointer. */
static bool is_in_stub(uintptr_t pc, int64_t *pushed) {
    uint32_t code[STUB_MOST];
    if (pc % 4 != 0 || !memory_fetch(code, pc, sizeof code)) return false;
    int at = 0;
    while (at < STUB_MOST && is_stubs(code[at])) at++;
    if (at == STUB_MOST || (code[at] & 0xFFFFFFDF) != 0xD61F0200) return false; /* br x16, br x17 */
    *pushed = 0;
    for (int back = 1; back < STUB_MOST; back++) {
        uint32_t before;
        if (!memory_fetch(&before, pc - 4 * (uintptr_t)back, sizeof before) || !is_stubs(before)) break;
        if (before == stp_x16_x30) *pushed = 16;
    }
    return true;
}

uint64_t rule_of_code(uintptr_t pc, struct cfi_space *space) {
    const uint64_t interpret = rule_make(RULE_INTERPRET, 0, 0, false);
    const bool is_known = cfi_find_row(pc, space);
    const struct cfi_row *row = &space->row;
    if (!is_known || row->is_signal_frame) {
        int64_t pushed;
        /* the handler's return address is that of the first instruction; no call precedes it */
        if (is_signal_return((pc + 1) & ~(uintptr_t)3)) return rule_make(RULE_SIGNAL, 0, 0, false);
        if (is_known) return interpret;
        return is_in_stub(pc, &pushed) ? rule_make(RULE_LEAF, pushed, 0, false) : rule_guess();
    }
    if (row->return_register != DWARF_LR) return interpret;
    const struct cfi_rule *back = &row->registers[DWARF_LR], *fp = &row->registers[DWARF_FP];
    if (back->kind == CFI_UNDEFINED) return rule_end();
    if (row->cfa_expression != NULL || !fits(row->cfa_offset) || row->registers[DWARF_SP].kind != CFI_UNSPECIFIED)
        return interpret;
    if (row->cfa_register != DWARF_SP && row->cfa_register != DWARF_FP) return interpret;
    const enum rule_kind kind = row->cfa_register == DWARF_SP ? RULE_SP : RULE_FP;
    const bool keeps_fp = fp->kind == CFI_UNSPECIFIED || fp->kind == CFI_SAME;
    if ((back->kind == CFI_UNSPECIFIED || back->kind == CFI_SAME) && keeps_fp && kind == RULE_SP)
        return rule_make(RULE_LEAF, row->cfa_offset, 0, false);
    if (back->kind != CFI_OFFSET) return interpret;
    if (keeps_fp && is_slot(-back->value, 8)) return rule_make(kind, row->cfa_offset, (uint64_t)-back->value, false);
    if (fp->kind == CFI_OFFSET && fp->value == back->value - 8 && is_slot(-fp->value, 16))
        return rule_make(kind, row->cfa_offset, (uint64_t)-fp->value, true);
    return interpret;
}
