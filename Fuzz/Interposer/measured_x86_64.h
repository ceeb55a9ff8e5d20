// Frames measured on x86-64, beside rows of call frame information. Included by measured.h.

// After calls alone: elsewhere tables don't say that rbp is restored, and inline assembler pushes without their
// knowledge.
static const bool says_all = false;

static void say_difference(uintptr_t start, uintptr_t pc, const struct measured *measured, const struct cfi_row *row) {
    fprintf(stderr, "pure: the function at 0x%lx, after 0x%lx: depth %d, fp %d, saved %d; CFA is register %u + %ld\n",
        (long)(start - module.start), (long)(pc - module.start), measured->depth, measured->fp, measured->saved,
        row->cfa_register, (long)row->cfa_offset);
}

static bool agrees(const struct measured *measured, const struct cfi_row *row, uintptr_t pc) {
    (void)pc;
    enum { RBP = 6, RSP = 7 };
    if (row->cfa_expression != NULL) return true;
    if (row->cfa_register == RSP && 8 * (measured->depth + 1) != row->cfa_offset) return false;
    if (row->cfa_register == RBP && measured->fp >= 0 && 8 * (measured->fp + 1) != row->cfa_offset) return false;
    const struct cfi_rule *fp = &row->registers[RBP];
    if (fp->kind == CFI_OFFSET) return 8 * measured->saved == -fp->value;
    return (fp->kind != CFI_UNSPECIFIED && fp->kind != CFI_SAME) || measured->saved == 0;
}

// The table says of a part that lies apart that it begins with an empty frame, too; but after its first instruction the
// frame is larger, though that pushes nothing.
static bool is_function(uintptr_t start) {
    static struct cfi_space space;
    struct instruction first;
    if (!cfi_find_row(start, &space) || space.row.cfa_register != 7 || space.row.cfa_offset != 8) return false;
    if (!instruction_read((const uint8_t *)start, module.end - start, &first)) return false;
    const bool pushes = first.map == MAP_ONE_BYTE
        && ((first.opcode >= 0x50 && first.opcode < 0x58) || first.opcode == 0x81 || first.opcode == 0x83);
    return pushes || (cfi_find_row(start + first.length, &space) && space.row.cfa_offset == 8);
}

// Bytes that are often among instructions.
static const uint8_t often[] = {0x55, 0x53, 0x48, 0x83, 0xEC, 0xC4, 0x74, 0x75, 0xEB, 0xE9, 0x0F, 0x84, 0xE8, 0xC9,
    0x5D, 0x41, 0x57, 0x81, 0x8D, 0x24, 0xC3, 0x89, 0xE5};
