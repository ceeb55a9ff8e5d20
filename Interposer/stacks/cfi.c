/*
 * Call frame information, read where the loader mapped it. The tables belong to modules whose code is on the stack, so
 * they stay mapped. Every read is still checked against its entry's end, because a module's tables may be wrong.
 */
#include "stacks/cfi.h"

#include <string.h>

#include "base/changed.h"
#include "base/symbols.h"
#include "stacks/modules.h"

/* Pointer encodings (Linux Standard Base, "DWARF Exception Header Encoding"). */
enum {
    PE_ABSOLUTE = 0x00,
    PE_ULEB = 0x01,
    PE_U2 = 0x02,
    PE_U4 = 0x03,
    PE_U8 = 0x04,
    PE_SLEB = 0x09,
    PE_S2 = 0x0A,
    PE_S4 = 0x0B,
    PE_S8 = 0x0C,
    PE_FORMAT = 0x0F,
    PE_PC_RELATIVE = 0x10,
    PE_DATA_RELATIVE = 0x30,
    PE_OMITTED = 0xFF,
};

/* The contents of a CIE and an FDE together. */
struct entry {
    const uint8_t *initial, *initial_end, *instructions, *instructions_end;
    uint64_t code_factor;
    int64_t data_factor;
    uint64_t return_register;
    uintptr_t start;
    bool is_signal_frame;
};

uint64_t cfi_unsigned(const uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) break;
    }
    return value;
}

int64_t cfi_signed(const uint8_t **at, const uint8_t *end) {
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end;) {
        uint8_t byte = *(*at)++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7F) << shift;
        shift += 7;
        if (!(byte & 0x80)) {
            if (byte & 0x40 && shift < 64) value |= ~0ull << shift;
            break;
        }
    }
    return (int64_t)value;
}

uint64_t cfi_fixed(const uint8_t **at, const uint8_t *end, size_t bytes) {
    uint64_t value = 0;
    if ((size_t)(end - *at) < bytes) {
        *at = end;
        return 0;
    }
    memcpy(&value, *at, bytes); /* little-endian, like all processors that this is built for */
    *at += bytes;
    return value;
}

static uint64_t encoded(const uint8_t **at, const uint8_t *end, uint8_t encoding) {
    uintptr_t here = (uintptr_t)*at;
    uint64_t value;
    switch (encoding & PE_FORMAT) {
        case PE_ABSOLUTE:
        case PE_U8:
        case PE_S8: value = cfi_fixed(at, end, 8); break;
        case PE_ULEB: value = cfi_unsigned(at, end); break;
        case PE_SLEB: value = (uint64_t)cfi_signed(at, end); break;
        case PE_U2: value = cfi_fixed(at, end, 2); break;
        case PE_U4: value = cfi_fixed(at, end, 4); break;
        case PE_S2: value = (uint64_t)(int64_t)(int16_t)cfi_fixed(at, end, 2); break;
        case PE_S4: value = (uint64_t)(int64_t)(int32_t)cfi_fixed(at, end, 4); break;
        default: *at = end; return 0;
    }
    return (encoding & 0x70) == PE_PC_RELATIVE ? value + here : value;
}

/* Begins an entry of .eh_frame: finds its contents and their end. False for the terminator, and for an entry that
 * leaves the module. */
static bool begin(const uint8_t *entry, const uint8_t *module_end, const uint8_t **contents, const uint8_t **end) {
    const uint8_t *at = entry;
    if (module_end - entry < 8) return false;
    uint64_t length = cfi_fixed(&at, module_end, 4);
    if (length == 0xFFFFFFFF) length = cfi_fixed(&at, module_end, 8);
    if (length == 0 || length > (uint64_t)(module_end - at)) return false;
    *contents = at;
    *end = at + length;
    return true;
}

static bool read_common(const uint8_t *at, const uint8_t *module_end, struct entry *entry, uint8_t *pointer_encoding,
    bool *has_augmentation) {
    const uint8_t *end;
    if (!begin(at, module_end, &at, &end)) return false;
    if (cfi_fixed(&at, end, 4) != 0) return false; /* an FDE instead of a CIE */
    uint8_t version = (uint8_t)cfi_fixed(&at, end, 1);
    const uint8_t *augmentation = at;
    const uint8_t *terminator = memchr(at, 0, (size_t)(end - at));
    if ((version != 1 && version != 3) || terminator == NULL) return false;
    at = terminator + 1;
    entry->code_factor = cfi_unsigned(&at, end);
    entry->data_factor = cfi_signed(&at, end);
    entry->return_register = version == 1 ? cfi_fixed(&at, end, 1) : cfi_unsigned(&at, end);
    *pointer_encoding = PE_ABSOLUTE;
    *has_augmentation = *augmentation == 'z';
    if (*augmentation != 0 && *augmentation != 'z') return false; /* "eh": from compilers before 2001 */
    if (*has_augmentation) {
        uint64_t length = cfi_unsigned(&at, end);
        if (length > (uint64_t)(end - at)) return false;
        const uint8_t *after = at + length;
        for (augmentation++; *augmentation != 0; augmentation++) {
            if (*augmentation == 'R') {
                *pointer_encoding = (uint8_t)cfi_fixed(&at, after, 1);
            } else if (*augmentation == 'P') {
                uint8_t encoding = (uint8_t)cfi_fixed(&at, after, 1);
                encoded(&at, after, encoding);
            } else if (*augmentation == 'L') {
                cfi_fixed(&at, after, 1);
            } else if (*augmentation == 'S') {
                entry->is_signal_frame = true;
#if defined(__aarch64__)
            } else if (*augmentation == 'B' || *augmentation == 'G') {
                /* return addresses are signed by the other key; the stack is tagged */
#endif
            } else {
                break; /* not known, but the length of its data is */
            }
        }
        at = after;
    }
    entry->initial = at;
    entry->initial_end = end;
    return true;
}

/* Reads the FDE at `at`. False if it doesn't cover the pc. */
static bool read_entry(
    const uint8_t *at, const uint8_t *module_start, const uint8_t *module_end, uintptr_t pc, struct entry *entry) {
    const uint8_t *end;
    if (at < module_start || !begin(at, module_end, &at, &end)) return false;
    const uint8_t *pointer = at;
    uint64_t back = cfi_fixed(&at, end, 4);
    if (back == 0 || back > (uint64_t)(pointer - module_start)) return false;
    uint8_t encoding;
    bool has_augmentation;
    *entry = (struct entry){0};
    if (!read_common(pointer - back, module_end, entry, &encoding, &has_augmentation)) return false;
    entry->start = encoded(&at, end, encoding);
    uint64_t length = encoded(&at, end, encoding & PE_FORMAT);
    if (pc - entry->start >= length) return false;
    if (has_augmentation) {
        uint64_t skip = cfi_unsigned(&at, end);
        if (skip > (uint64_t)(end - at)) return false;
        at += skip;
    }
    entry->instructions = at;
    entry->instructions_end = end;
    return true;
}

/* Finds the FDE for a pc, by the binary search table of .eh_frame_hdr. */
static bool find_entry(uintptr_t pc, struct entry *entry) {
    struct module_frames frames;
    if (!module_frames_of(pc, &frames)) return false;
    const uint8_t *header = frames.eh_frame_hdr, *end = (const uint8_t *)frames.end, *at = header + 4;
    if (!memory_is_readable((uintptr_t)header & ~(uintptr_t)7)) return false; /* a program may hide its own pages */
    if (end - header < 4 || header[0] != 1 || header[3] != (PE_DATA_RELATIVE | PE_S4))
        return false; /* what every linker writes */
    encoded(&at, end, header[1]);
    uint64_t count = encoded(&at, end, header[2]);
    struct row {
        int32_t start, entry;
    } row; /* both relative to the header */
    if (at >= end || count == 0 || count > (uint64_t)(end - at) / sizeof row) return false;
    int64_t wanted = (int64_t)(pc - (uintptr_t)header);
    uint64_t low = 0, high = count;
    while (high - low > 1) { /* the last row whose start is not above the pc */
        uint64_t middle = low + (high - low) / 2;
        memcpy(&row, at + middle * sizeof row, sizeof row);
        if (row.start <= wanted) low = middle;
        else high = middle;
    }
    memcpy(&row, at + low * sizeof row, sizeof row);
    const uint8_t *found = header + row.entry;
    return row.start <= wanted && memory_is_readable((uintptr_t)found & ~(uintptr_t)7)
        && read_entry(found, (const uint8_t *)frames.start, end, pc, entry);
}

/* ---- Instructions ---------------------------------------------------------------------------------- */

static void set_rule(struct cfi_row *row, uint64_t number, uint8_t kind, int64_t value, const uint8_t *expression) {
    if (number < CFI_REGISTERS) row->registers[number] = (struct cfi_rule){expression, value, kind};
}

/* A factored offset. The product is unsigned, because a wrong table's may overflow. */
static int64_t factored(uint64_t number, const struct entry *entry) {
    return (int64_t)(number * (uint64_t)entry->data_factor);
}

/* A block: its length, then its bytes. */
static const uint8_t *block(const uint8_t **at, const uint8_t *end, int64_t *length) {
    uint64_t bytes = cfi_unsigned(at, end);
    if (bytes > (uint64_t)(end - *at)) bytes = (uint64_t)(end - *at);
    const uint8_t *start = *at;
    *at += bytes;
    *length = (int64_t)bytes;
    return start;
}

/* Runs instructions up to the row that applies to `pc`. False for an unknown instruction. */
static bool run(
    const uint8_t *at, const uint8_t *end, const struct entry *entry, uintptr_t pc, struct cfi_space *space) {
    struct cfi_row *row = &space->row;
    uintptr_t location = entry->start;
    size_t remembered = 0;
    while (at < end) {
        uint8_t operation = *at++, low = operation & 0x3F;
        uint64_t number;
        int64_t length;
        const uint8_t *bytes;
        if (operation >> 6 == 1) { /* advance_loc */
            location += low * entry->code_factor;
            if (location > pc) return true;
            continue;
        }
        if (operation >> 6 == 2) { /* offset */
            set_rule(row, low, CFI_OFFSET, factored(cfi_unsigned(&at, end), entry), NULL);
            continue;
        }
        if (operation >> 6 == 3) { /* restore */
            if (low < CFI_REGISTERS) row->registers[low] = space->initial.registers[low];
            continue;
        }
        switch (operation) {
            case 0x00: break; /* nop */
            case 0x01:
                location = cfi_fixed(&at, end, 8);
                if (location > pc) return true;
                break; /* set_loc */
            case 0x02:
            case 0x03:
            case 0x04: /* advance_loc1, 2, 4 */
                location += cfi_fixed(&at, end, (size_t)1 << (operation - 2)) * entry->code_factor;
                if (location > pc) return true;
                break;
            case 0x05:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_OFFSET, factored(cfi_unsigned(&at, end), entry), NULL);
                break;
            case 0x06:
                number = cfi_unsigned(&at, end);
                if (number < CFI_REGISTERS) row->registers[number] = space->initial.registers[number];
                break;
            case 0x07: set_rule(row, cfi_unsigned(&at, end), CFI_UNDEFINED, 0, NULL); break;
            case 0x08: set_rule(row, cfi_unsigned(&at, end), CFI_SAME, 0, NULL); break;
            case 0x09:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_REGISTER, (int64_t)cfi_unsigned(&at, end), NULL);
                break;
            case 0x0A: /* remember_state */
                if (remembered == sizeof space->remembered / sizeof space->remembered[0]) return false;
                space->remembered[remembered++] = *row;
                break;
            case 0x0B: /* restore_state */
                if (remembered == 0) return false;
                *row = space->remembered[--remembered];
                break;
            case 0x0C:
                row->cfa_register = (uint32_t)cfi_unsigned(&at, end);
                row->cfa_offset = (int64_t)cfi_unsigned(&at, end);
                row->cfa_expression = NULL;
                break;
            case 0x0D: /* these three change a register and an offset; not valid if the CFA is an expression, whose
                          length is no offset */
                if (row->cfa_expression != NULL) return false;
                row->cfa_register = (uint32_t)cfi_unsigned(&at, end);
                break;
            case 0x0E:
                if (row->cfa_expression != NULL) return false;
                row->cfa_offset = (int64_t)cfi_unsigned(&at, end);
                break;
            case 0x0F: row->cfa_expression = block(&at, end, &row->cfa_offset); break;
            case 0x10:
            case 0x16: /* expression, val_expression */
                number = cfi_unsigned(&at, end);
                bytes = block(&at, end, &length);
                set_rule(row, number, operation == 0x10 ? CFI_EXPRESSION : CFI_VALUE_EXPRESSION, length, bytes);
                break;
            case 0x11:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_OFFSET, factored((uint64_t)cfi_signed(&at, end), entry), NULL);
                break;
            case 0x12:
                row->cfa_register = (uint32_t)cfi_unsigned(&at, end);
                row->cfa_offset = factored((uint64_t)cfi_signed(&at, end), entry);
                row->cfa_expression = NULL;
                break;
            case 0x13:
                if (row->cfa_expression != NULL) return false;
                row->cfa_offset = factored((uint64_t)cfi_signed(&at, end), entry);
                break;
            case 0x14:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_VALUE_OFFSET, factored(cfi_unsigned(&at, end), entry), NULL);
                break;
            case 0x15:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_VALUE_OFFSET, factored((uint64_t)cfi_signed(&at, end), entry), NULL);
                break;
#if defined(__aarch64__)
            /* negate_ra_state, and the same with the pc: return addresses are signed from here on, or no more.
             * Stripping does not ask for that. */
            case 0x2C:
            case 0x2D: break;
#endif
            case 0x2E: cfi_unsigned(&at, end); break; /* GNU_args_size: for landing pads */
            case 0x2F:
                number = cfi_unsigned(&at, end);
                set_rule(row, number, CFI_OFFSET, factored(-cfi_unsigned(&at, end), entry), NULL);
                break;
            default: return false;
        }
    }
    return true;
}

bool cfi_has_entry(uintptr_t pc) {
    struct entry entry;
    return find_entry(pc, &entry);
}

/* The row of a jump between a place of changed code and the recorder: the place has called it. */
static bool find_bridge(uintptr_t pc, struct cfi_row *row) {
    if (likely(load_relaxed(&code_is_changed) == CODE_UNCHANGED) || !is_bridge(pc)) return false;
    *row = (struct cfi_row){.cfa_register = DWARF_SP, .cfa_offset = CHANGED_DEPTH + 8, .return_register = DWARF_PC};
    row->registers[DWARF_PC] = (struct cfi_rule){.kind = CFI_OFFSET, .value = -(CHANGED_DEPTH + 8)};
    return true;
}

bool cfi_find_row(uintptr_t pc, struct cfi_space *space) {
    struct entry entry;
    if (!find_entry(pc, &entry)) return find_bridge(pc, &space->row);
    if (entry.return_register >= CFI_REGISTERS) return false;
    memset(&space->row, 0, sizeof space->row);
    if (!run(entry.initial, entry.initial_end, &entry, UINTPTR_MAX, space)) return false;
    space->initial = space->row;
    if (!run(entry.instructions, entry.instructions_end, &entry, pc, space)) return false;
    space->row.return_register = (uint32_t)entry.return_register;
    space->row.is_signal_frame = entry.is_signal_frame;
    if (unlikely(load_relaxed(&code_is_changed)) && space->row.cfa_expression == NULL
        && space->row.cfa_register == DWARF_SP)
        space->row.cfa_offset += changed_depth(pc);
    return true;
}
