// Frames measured on AArch64, beside rows of call frame information. Included by measured.h.
static const bool says_all = true;

static void say_difference(uintptr_t start, uintptr_t pc, const struct measured *measured, const struct cfi_row *row) {
    fprintf(stderr,
        "pure: the function at 0x%lx, at 0x%lx: depth %d, fp %d, saved %d, link %d; CFA is register %u + %ld, "
        "x29 %d: %ld, x30 %d: %ld\n",
        (long)(start - module.start), (long)(pc - module.start), measured->depth, measured->fp, measured->saved,
        measured->link, row->cfa_register, (long)row->cfa_offset, row->registers[DWARF_FP].kind,
        (long)row->registers[DWARF_FP].value, row->registers[DWARF_LR].kind, (long)row->registers[DWARF_LR].value);
}

// Whether a register of the caller is where the row says: below the CFA, or, with 0, in itself.
static bool is_at(int16_t place, const struct cfi_rule *rule) {
    if (rule->kind == CFI_OFFSET) return 8 * place == -rule->value;
    return (rule->kind != CFI_UNSPECIFIED && rule->kind != CFI_SAME) || place == 0;
}

// Whether one of the last instructions before `pc` has loaded or stored x30. Tables say so some instructions later;
// until then both the register and the stack hold the return address.
static bool has_just_moved(uintptr_t pc) {
    for (int back = 1; back <= 20; back++) {
        struct instruction instruction;
        struct access access;
        if (!instruction_read((const uint8_t *)pc - 4 * back, INSTRUCTION_MOST, &instruction)) return false;
        if (instruction_flow(&instruction) == FLOW_CALL) return false;
        if (!instruction_access(&instruction, &access) || access.base != INSTRUCTION_SP) continue;
        for (uint8_t i = 0; i < access.count; i++)
            if (access.registers[i] == INSTRUCTION_LR) return true;
    }
    return false;
}

static bool agrees(const struct measured *measured, const struct cfi_row *row, uintptr_t pc) {
    if (row->cfa_expression != NULL) return true;
    if (row->cfa_register == DWARF_SP && measured->depth >= 0 && 8 * measured->depth != row->cfa_offset) return false;
    if (row->cfa_register == DWARF_FP && measured->fp >= 0 && 8 * measured->fp != row->cfa_offset) return false;
    if ((measured->link == 0) != is_at(0, &row->registers[DWARF_LR]) && has_just_moved(pc)) return true;
    return is_at(measured->saved, &row->registers[DWARF_FP]) && is_at(measured->link, &row->registers[DWARF_LR]);
}

static bool is_function(uintptr_t start) {
    static struct cfi_space space;
    return cfi_find_row(start, &space) && space.row.cfa_expression == NULL && space.row.cfa_register == DWARF_SP
        && space.row.cfa_offset == 0 && is_at(0, &space.row.registers[DWARF_LR]);
}

// Bytes that are often among instructions.
static const uint8_t often[] = {0xFD, 0x7B, 0xBE, 0xA9, 0x03, 0x00, 0x91, 0xC0, 0x5F, 0xD6, 0xC2, 0xA8, 0x14, 0x94,
    0x17, 0x54, 0x34, 0xB4, 0x36, 0xFF, 0x43, 0xD1, 0xBF, 0x1F, 0x20, 0xD5, 0xF9, 0xF3, 0x53};
