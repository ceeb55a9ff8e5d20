// Frames measured by their instructions, beside call frame information: what a function's code says of its frame must
// be what its compiler says. Included by pure.c.
#include "stacks/x86_64/instruction.h"
#include "stacks/x86_64/measure.h"

static size_t calls_met, frames_measured, differing;

static void say_difference(uintptr_t start, uintptr_t pc, const struct measured *measured, const struct cfi_row *row) {
    fprintf(stderr, "pure: the function at 0x%lx, after 0x%lx: depth %d, fp %d, saved %d; CFA is register %u + %ld\n",
        (long)(start - module.start), (long)(pc - module.start), measured->depth, measured->fp, measured->saved,
        row->cfa_register, (long)row->cfa_offset);
}

// Whether the measured frame is the row's, as far as both speak of the same register.
static bool agrees(const struct measured *measured, const struct cfi_row *row) {
    enum { RBP = 6, RSP = 7 };
    if (row->cfa_expression != NULL) return true;
    if (row->cfa_register == RSP && 8 * (measured->depth + 1) != row->cfa_offset) return false;
    if (row->cfa_register == RBP && measured->fp >= 0 && 8 * (measured->fp + 1) != row->cfa_offset) return false;
    const struct cfi_rule *fp = &row->registers[RBP];
    if (fp->kind == CFI_OFFSET) return 8 * measured->saved == -fp->value;
    return (fp->kind != CFI_UNSPECIFIED && fp->kind != CFI_SAME) || measured->saved == 0;
}

// Whether a function begins at `start`, and not a part of one that lies apart. The table says of such a part that it
// begins with an empty frame, too; but after its first instruction the frame is larger, though that pushes nothing.
static bool is_function(uintptr_t start) {
    static struct cfi_space space;
    struct instruction first;
    if (!cfi_find_row(start, &space) || space.row.cfa_register != 7 || space.row.cfa_offset != 8) return false;
    if (!instruction_read((const uint8_t *)start, module.end - start, &first)) return false;
    const bool pushes = first.map == MAP_ONE_BYTE
        && ((first.opcode >= 0x50 && first.opcode < 0x58) || first.opcode == 0x81 || first.opcode == 0x83);
    return pushes || (cfi_find_row(start + first.length, &space) && space.row.cfa_offset == 8);
}

// After each call of the function in [start, end).
static void measure_function(uintptr_t start, uintptr_t end) {
    static struct cfi_space space;
    if (!is_function(start)) return;
    struct instruction instruction;
    for (uintptr_t pc = start; pc < end; pc += instruction.length) {
        if (!instruction_read((const uint8_t *)pc, module.end - pc, &instruction)) return;
        const bool is_call = instruction.map == MAP_ONE_BYTE
            && (instruction.opcode == 0xE8 || (instruction.opcode == 0xFF && (instruction.reg & 7) == 2));
        const uintptr_t after = pc + instruction.length;
        if (!is_call || after >= end || !cfi_find_row(pc, &space)) continue;
        calls_met++;
        struct measured measured;
        if (!measure_frame(start, after, true, &measured)) continue;
        frames_measured++;
        if (agrees(&measured, &space.row)) continue;
        say_difference(start, after, &measured, &space.row);
        differing++;
    }
}

// Functions all over the module, `most` of them.
static void measure_all_over(size_t most) {
    const uint8_t *rows;
    const uint32_t count = table(&rows);
    const uintptr_t header = (uintptr_t)module.eh_frame_hdr;
    for (uint64_t i = 0; i + 1 < count; i += count / most + 1)
        measure_function(header + (uintptr_t)(intptr_t)row_of(rows, (uint32_t)i).start,
            header + (uintptr_t)(intptr_t)row_of(rows, (uint32_t)i + 1).start);
}

// Bytes that no compiler made. What is read of them lies in the module.
static void measure_noise(unsigned rounds) {
    static uint8_t code[512];
    module = (struct module_frames){(uintptr_t)code, (uintptr_t)code + sizeof code, NULL};
    for (unsigned round = 0; round < rounds; round++) {
        static const uint8_t often[] = {0x55, 0x53, 0x48, 0x83, 0xEC, 0xC4, 0x74, 0x75, 0xEB, 0xE9, 0x0F, 0x84, 0xE8,
            0xC9, 0x5D, 0x41, 0x57, 0x81, 0x8D, 0x24, 0xC3, 0x89, 0xE5};
        for (size_t at = 0; at < sizeof code; at++)
            code[at] = random_number(3) == 0 ? (uint8_t)random_number(256) : often[random_number(sizeof often)];
        struct measured measured;
        const uintptr_t start = module.start + random_number(64);
        measure_frame(start, start + random_number(sizeof code), random_number(2) == 0, &measured);
    }
    module = (struct module_frames){0};
}
