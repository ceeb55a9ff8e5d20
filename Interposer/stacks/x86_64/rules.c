/*
 * x86-64: makes rules from call frame information: a row of .eh_frame is put into one word if it has one of the few
 * forms that nearly all code has.
 */
#include "stacks/rules.h"

#include <string.h>

#include "base/symbols.h"

enum { RBP = 6, RSP = 7, RIP = 16 };

static bool fits(int64_t offset) {
    return offset % 8 == 0 && offset >= RULE_OFFSET_LEAST && offset <= RULE_OFFSET_MOST;
}

/* Whether an expression is just "register plus offset", with or without a load after it. */
static bool is_register_offset(
    const uint8_t *expression, int64_t length, uint32_t number, bool loaded, int64_t *offset) {
    const uint8_t *at = expression, *end = expression + length;
    if (length < 2 || *at++ != 0x70 + number) return false;
    *offset = cfi_signed(&at, end);
    return loaded ? end - at == 1 && *at == 0x06 : at == end;
}

/* How the row restores rbp: 0 means unchanged, else it is saved at this distance below the CFA. False for anything
 * else. */
static bool saved_fp(const struct cfi_row *row, uint32_t *distance) {
    const struct cfi_rule *rule = &row->registers[RBP];
    *distance = 0;
    if (rule->kind == CFI_UNSPECIFIED || rule->kind == CFI_SAME) return true;
    if (rule->kind != CFI_OFFSET || rule->value > -16 || rule->value % 8 != 0 || rule->value < -(int64_t)RULE_FP_MASK)
        return false;
    *distance = (uint32_t)-rule->value;
    return true;
}

/* Whether a CFA expression doesn't read memory and is linear in rsp once the pc is known, as PLT entries' are. */
static bool is_constant_above_rsp(const struct cfi_row *row, uintptr_t pc, int64_t *offset) {
    struct cfi_registers registers = {0};
    struct cfi_bounds nothing = {1, 0};
    uint64_t results[2], bases[2] = {0x10000, 0x7654321000};
    for (int i = 0; i < 2; i++) {
        registers.values[RSP] = bases[i];
        registers.values[RIP] = pc;
        results[i] = 0;
        if (!cfi_evaluate(row->cfa_expression, row->cfa_offset, &registers, nothing, &results[i])) return false;
    }
    *offset = (int64_t)(results[0] - bases[0]);
    return results[0] - bases[0] == results[1] - bases[1];
}

/* Whether a handler's return address leads to rt_sigreturn (mov $15, %rax; syscall), as in a libc without tables. */
static bool is_signal_return(uintptr_t address) {
    static const uint8_t instructions[] = {0x48, 0xC7, 0xC0, 0x0F, 0x00, 0x00, 0x00, 0x0F, 0x05};
    uint8_t bytes[sizeof instructions];
    return memory_fetch(bytes, address, sizeof bytes) && memcmp(bytes, instructions, sizeof bytes) == 0;
}

uint64_t rule_of_code(uintptr_t pc, struct cfi_space *space) {
    const uint64_t interpret = rule_make(RULE_INTERPRET, 0, 0);
    if (!cfi_find_row(pc, space)) return is_signal_return(pc + 1) ? rule_make(RULE_SIGNAL, 0, 0) : rule_guess();
    const struct cfi_row *row = &space->row;
    const struct cfi_rule *back = &row->registers[row->return_register];
    if (back->kind == CFI_UNDEFINED) return rule_end();
    int64_t offset, zero;
    if (row->is_signal_frame) {
        bool known = row->cfa_expression != NULL
            && is_register_offset(row->cfa_expression, row->cfa_offset, RSP, true, &offset)
            && offset == SIGNAL_FRAME_SP;
        known = known && back->kind == CFI_EXPRESSION
            && is_register_offset(back->expression, back->value, RSP, false, &offset) && offset == SIGNAL_FRAME_PC;
        const struct cfi_rule *fp = &row->registers[RBP];
        known = known && fp->kind == CFI_EXPRESSION
            && is_register_offset(fp->expression, fp->value, RSP, false, &offset) && offset == SIGNAL_FRAME_FP;
        return known ? rule_make(RULE_SIGNAL, 0, 0) : interpret;
    }
    if (row->return_register != RIP || back->kind != CFI_OFFSET || back->value != -8) return interpret;
    enum rule_kind kind;
    if (row->cfa_expression != NULL) {
        const struct cfi_rule *fp = &row->registers[RBP];
        if (is_register_offset(row->cfa_expression, row->cfa_offset, RBP, true, &offset) && fits(offset)
            && fp->kind == CFI_EXPRESSION && is_register_offset(fp->expression, fp->value, RBP, false, &zero)
            && zero == 0)
            return rule_make(RULE_REALIGNED, offset, 0);
        if (!is_constant_above_rsp(row, pc, &offset)) return interpret;
        kind = RULE_SP;
    } else {
        offset = row->cfa_offset;
        kind = row->cfa_register == RSP ? RULE_SP : row->cfa_register == RBP ? RULE_FP : RULE_INTERPRET;
    }
    uint32_t saved;
    if (kind == RULE_INTERPRET || !fits(offset) || !saved_fp(row, &saved)) return interpret;
    return rule_make(kind, offset, saved);
}
