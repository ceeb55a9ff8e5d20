// Frames measured by their instructions, beside call frame information: what a function's code says of its frame must
// be what its compiler says. Included by pure.c.
#include "stacks/measure.h"

static size_t calls_met, frames_measured, instants_met, instants_measured, differing;

// Of the processor: say_difference(); agrees(), whether the measured frame is the row's, as far as both speak of the
// same register; is_function(), whether a function begins at an address, and not a part of one that lies apart;
// says_all, whether tables are true between calls, too.
#if defined(__x86_64__)
#include "measured_x86_64.h"
#elif defined(__aarch64__)
#include "measured_aarch64.h"
#endif

// The frame at `pc` of the function that begins at `start`. True if it could be measured.
static bool compare(uintptr_t start, uintptr_t pc, bool is_return, const struct cfi_row *row) {
    struct measured measured;
    if (!measure_frame(start, pc, is_return, &measured)) return false;
    if (agrees(&measured, row, pc)) return true;
    say_difference(start, pc, &measured, row);
    differing++;
    return true;
}

// After each call of the function in [start, end), and, where a signal may interrupt it, before some other
// instructions.
#define INSTRUCTIONS_EACH 7
static void measure_function(uintptr_t start, uintptr_t end) {
    static struct cfi_space space;
    if (!is_function(start)) return;
    struct instruction instruction;
    size_t met = 0;
    for (uintptr_t pc = start; pc < end; pc += instruction.length) {
        if (!instruction_read((const uint8_t *)pc, module.end - pc, &instruction)) return;
        if (!cfi_find_row(pc, &space)) continue;
        if (says_all && met++ % INSTRUCTIONS_EACH == 0)
            instants_measured += compare(start, pc, false, &space.row), instants_met++;
        const uintptr_t after = pc + instruction.length;
        if (instruction_flow(&instruction) != FLOW_CALL || after >= end) continue;
        calls_met++;
        frames_measured += compare(start, after, true, &space.row);
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
        for (size_t at = 0; at < sizeof code; at++)
            code[at] = random_number(3) == 0 ? (uint8_t)random_number(256) : often[random_number(sizeof often)];
        struct measured measured;
        const uintptr_t start = module.start + random_number(64);
        measure_frame(start, start + random_number(sizeof code), random_number(2) == 0, &measured);
    }
    module = (struct module_frames){0};
}
