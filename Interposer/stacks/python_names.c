/*
 * The table of Python's functions. A function is a file, a qualified name and a first line, by content: two code
 * objects with the same ones are one, and a code object that was freed leaves nothing behind. An image gets a
 * function's record when the first stack needs it, and the record's place becomes part of frames. So the table is for
 * the whole process, and lock-free like that of the tags (tags.c).
 *
 * A line is decoded from the code's table of locations (CPython, Objects/locations.md, 3.11 to 3.13).
 */
#include "stacks/python_names.h"

#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "image/image.h"
#include "stacks/tree.h"
#include "threads/thread.h"

/* ---- Texts ------------------------------------------------------------------------------------------- */

static uint32_t character(const char *at, uint32_t unit) {
    if (unit == 1) return (uint8_t)*at;
    if (unit == 2) {
        uint16_t value;
        memcpy(&value, at, sizeof value);
        return value;
    }
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Writes a character as UTF-8. A lone surrogate, by which Python stands for a byte that is no text, is written like any
 * other character. */
static uint32_t encode(uint32_t character, char to[4]) {
    if (character < 0x80) {
        to[0] = (char)character;
        return 1;
    }
    if (character < 0x800) {
        to[0] = (char)(0xC0 | character >> 6);
        to[1] = (char)(0x80 | (character & 0x3F));
        return 2;
    }
    if (character < 0x10000) {
        to[0] = (char)(0xE0 | character >> 12);
        to[1] = (char)(0x80 | (character >> 6 & 0x3F));
        to[2] = (char)(0x80 | (character & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | (character >> 18 & 7));
    to[1] = (char)(0x80 | (character >> 12 & 0x3F));
    to[2] = (char)(0x80 | (character >> 6 & 0x3F));
    to[3] = (char)(0x80 | (character & 0x3F));
    return 4;
}

static const char ellipsis[] = "\xE2\x80\xA6";
#define ELLIPSIS (sizeof ellipsis - 1)

/* Reads a string as UTF-8, its beginning with an ellipsis if it has more than `most` bytes. */
static bool read_text(struct python_chain *chain, uintptr_t string, uint32_t most, struct python_text *text) {
    struct python_string head;
    uint64_t space[8];
    text->length = 0;
    if (!python_string_read(chain, string, &head)) return false;
    uint32_t fits = 0; /* the length at which an ellipsis still has room */
    for (uint64_t i = 0; i < head.length;) {
        uint64_t here = sizeof space / head.unit;
        if (here > head.length - i) here = head.length - i;
        const char *at = python_view(chain, head.characters + i * head.unit, here * head.unit, space);
        if (at == NULL) return false;
        for (uint64_t k = 0; k < here; k++, i++) {
            char bytes[4];
            const uint32_t length = encode(character(at + k * head.unit, head.unit), bytes);
            if (text->length + length > most) {
                memcpy(text->bytes + fits, ellipsis, ELLIPSIS);
                text->length = fits + (uint32_t)ELLIPSIS;
                return true;
            }
            memcpy(text->bytes + text->length, bytes, length);
            text->length += length;
            if (text->length + ELLIPSIS <= most) fits = text->length;
        }
    }
    return true;
}

static uint64_t hash_text(uint64_t hash, const struct python_text *text) {
    hash = tree_hash(hash, text->length);
    for (uint32_t i = 0; i < text->length; i += 8) {
        uint64_t part = 0;
        memcpy(&part, text->bytes + i, text->length - i < 8 ? text->length - i : 8);
        hash = tree_hash(hash, part);
    }
    return hash;
}

/* ---- What an image has ------------------------------------------------------------------------------- */

#define SLOTS (2 * HEAP_PYTHON_FUNCTIONS_MOST)
#define PROBES 128

/* Where a text or a record lies in an image: the image's number (its lower half) in the upper half, the offset in
 * STRINGS in the lower. */
static struct slot {
    uint64_t key; /* a seeded hash of the content; 0: empty */
    uint64_t place;
} slots[SLOTS];
static uint32_t used;

static struct slot *slot_of(uint64_t key) {
    if (key == 0) key = 1;
    for (uint32_t i = 0; i < PROBES; i++) {
        struct slot *slot = &slots[(key + i) % SLOTS];
        uint64_t seen = load_relaxed(&slot->key);
        if (seen == key) return slot;
        if (seen != 0) continue;
        if (load_relaxed(&used) >= HEAP_PYTHON_FUNCTIONS_MOST) return NULL;
        if (cas_relaxed(&slot->key, &seen, key)) {
            add_relaxed(&used, 1);
            return slot;
        }
        if (seen == key) return slot;
    }
    return NULL;
}

/* The offset in STRINGS of these bytes, which `key` stands for; 0 if there is no room. */
static uint32_t place_of(uint64_t key, const void *bytes, size_t length) {
    struct slot *slot = slot_of(key);
    if (slot == NULL) return 0;
    const uint64_t own = local.image << 32;
    uint64_t place = load_acquire(&slot->place); /* partner: the swap below */
    if (place != 0 && (place ^ own) >> 32 == 0) return (uint32_t)place;
    const struct heap_string copy = image_string(bytes, length);
    if (copy.offset == 0) return 0;
    /* If another thread was faster, its copy counts, and this one is only space. */
    if (cas_acq_rel(&slot->place, &place, own | copy.offset) || (place ^ own) >> 32 != 0) return copy.offset;
    return (uint32_t)place;
}

/* The offset of a function's record; 0 if there is no room for one more. */
static uint32_t record_of(const struct python_text *file, const struct python_text *name, uint32_t first_line) {
    const uint64_t file_key = hash_text(tree_seed, file);
    const uint64_t key = tree_hash(hash_text(file_key, name), first_line);
    const struct slot *known = slot_of(key);
    if (known == NULL) return 0;
    const uint64_t place = load_acquire(&known->place); /* partner: place_of */
    if (place != 0 && (place ^ local.image << 32) >> 32 == 0) return (uint32_t)place;
    struct heap_python_function record = {.first_line = first_line};
    if (file->length > 0)
        record.file = (struct heap_string){place_of(file_key, file->bytes, file->length), file->length};
    record.name = image_string(name->bytes, name->length);
    if (record.name.offset == 0 || (file->length > 0 && record.file.offset == 0)) return 0;
    return place_of(key, &record, sizeof record);
}

/* ---- Lines ------------------------------------------------------------------------------------------- */

/* The table's bytes, one after the other. */
struct lines {
    struct python_chain *chain;
    uintptr_t at, end;
    uint8_t space[64];
    const uint8_t *bytes;
    uint32_t next, count;
};

static int next_byte(struct lines *lines) {
    if (lines->next == lines->count) {
        uintptr_t left = lines->end - lines->at;
        lines->count = left < sizeof lines->space ? (uint32_t)left : sizeof lines->space;
        lines->next = 0;
        lines->bytes = left > 0 ? python_view(lines->chain, lines->at, lines->count, lines->space) : NULL;
        if (lines->bytes == NULL) {
            lines->count = 0;
            return -1;
        }
        lines->at += lines->count;
    }
    return lines->bytes[lines->next++];
}

static int64_t next_number(struct lines *lines, bool is_signed) {
    uint64_t value = 0;
    int byte = 0x40;
    for (uint32_t shift = 0; byte & 0x40 && shift < 36; shift += 6) {
        if ((byte = next_byte(lines)) < 0) return 0;
        value |= (uint64_t)(byte & 0x3F) << shift;
    }
    if (!is_signed) return (int64_t)value;
    return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

/* An entry's kinds: 0 to 9 a line's columns in one more byte, 10 to 12 in two, 13 no columns, 14 all as numbers. */
enum { ENTRY_ONE_LINE = 10, ENTRY_NO_COLUMNS = 13, ENTRY_LONG = 14, ENTRY_NONE = 15 };

/* The line of an instruction; 0 if its table has none for it, or can't be read. */
static int64_t line_of(struct python_chain *chain, uintptr_t table, int64_t first_line, uint32_t instruction) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[8];
    const char *object = table % 8 == 0 ? python_view(chain, table, layout->bytes.size + 8, space) : NULL;
    if (object == NULL) return 0;
    uint64_t bytes;
    memcpy(&bytes, object + layout->bytes.size, sizeof bytes);
    if (bytes > 1 << 20) return 0;
    struct lines lines = {.chain = chain, .at = table + layout->bytes.bytes};
    lines.end = lines.at + bytes;
    int64_t line = first_line;
    uint64_t end = 0;
    for (;;) {
        const int head = next_byte(&lines);
        if (head < 0 || !(head & 0x80)) return 0;
        const int kind = head >> 3 & 15;
        end += 2u * ((uint32_t)(head & 7) + 1);
        if (kind < ENTRY_ONE_LINE) {
            next_byte(&lines);
        } else if (kind < ENTRY_NO_COLUMNS) {
            line += kind - ENTRY_ONE_LINE;
            next_byte(&lines);
            next_byte(&lines);
        } else if (kind != ENTRY_NONE) {
            line += next_number(&lines, true);
            for (int i = 0; kind == ENTRY_LONG && i < 3; i++) next_number(&lines, false);
        }
        if (instruction < end) return kind == ENTRY_NONE ? 0 : line;
    }
}

/* ---- Frames ------------------------------------------------------------------------------------------ */

static uint64_t make_frame(struct python_chain *chain, const struct python_frame *frame) {
    const struct python_layout *layout = &chain->runtime->layout;
    uint64_t space[PYTHON_CODE_BYTES / sizeof(uint64_t)];
    uintptr_t file_string, name_string, lines;
    uint32_t first_line;
    struct python_text *file = &chain->file, *name = &chain->name;
    const char *code = python_view(chain, frame->code, layout->code.instructions, space);
    if (code == NULL) return heap_python_frame(0, 0);
    memcpy(&file_string, code + layout->code.file, sizeof file_string);
    memcpy(&name_string, code + layout->code.name, sizeof name_string);
    memcpy(&lines, code + layout->code.lines, sizeof lines);
    memcpy(&first_line, code + layout->code.first_line, sizeof first_line);
    if (!read_text(chain, file_string, HEAP_PYTHON_FILE_BYTES, file)
        || !read_text(chain, name_string, HEAP_PYTHON_NAME_BYTES, name))
        return heap_python_frame(0, 0);
    const int64_t line =
        frame->instruction == PYTHON_NOT_BEGUN ? first_line : line_of(chain, lines, first_line, frame->instruction);
    const int64_t after = line - (int64_t)first_line;
    const bool is_known = line > 0 && after >= 0 && after < HEAP_PYTHON_LINES_MOST;
    const uint32_t record = record_of(file, name, first_line);
    return heap_python_frame(record, record != 0 && is_known ? (uint32_t)after + 1 : 0);
}

uint64_t python_frame_id(
    struct python_chain *chain, const struct python_frame *frame, struct python_place places[PYTHON_PLACES]) {
    const uint64_t key = tree_hash(tree_hash(frame->print, frame->instruction), local.image) | 1;
    struct python_place *place = &places[(key >> 1) % PYTHON_PLACES];
    if (likely(place->key == key)) return place->frame;
    const uint64_t made = make_frame(chain, frame);
    if (heap_python_record(made) == 0) return made; /* next time there may be space */
    place->key = 0;
    fence_compiler();
    place->frame = made;
    fence_compiler();
    place->key = key;
    return made;
}
