/*
 * The table of tags. A tag gets a number at its first use in the process, and keeps it: in a fork's child and in a
 * later recording, too. Its text is kept here, outside the image; an image gets a copy when the first stack needs it.
 *
 * Nothing is ever removed, so nobody waits: a number is entered by one compare-and-swap, after its text. A thread that
 * is interrupted for good, or loses the race, leaves a number that nobody uses. Both the numbers and the bytes are
 * bounded; beyond them all further tags share one number (TAG_REFUSED), whose blocks are counted like any tag's.
 *
 * The table lies in untouched memory of the library until a program sets its first tag.
 */
#include "stacks/tags.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/loader.h"
#include "image/image.h"

#define TAG_NONE 0u
#define TAG_REFUSED 1u /* the tags beyond the limits */
#define TAG_FIRST 2u

#define SLOTS (2 * HEAP_TAGS_MOST)
#define PROBE_MOST 256
#define TEXT_BYTES (256u << 10)

struct tag {
    /* Where the text lies in an image: the image's number (its lower half) in the upper half, the offset in STRINGS in
     * the lower. One word, because a fork changes both. */
    uint64_t place;
    uint32_t text; /* the offset in `texts` */
    uint32_t length;
};

static struct tag tags[TAG_FIRST + HEAP_TAGS_MOST];
static uint32_t used = TAG_FIRST;
/* Each text has its tag's number before it and a NUL behind it. Offset 0 is no text. */
static _Alignas(4) char texts[TEXT_BYTES];
static uint32_t used_bytes = sizeof(uint32_t);
static uint32_t slots[SLOTS]; /* open addressing: a tag's number; 0: empty */

static const char refused[] = "more tags than are kept";

/* Seeded, so that whoever chooses a program's tags can't choose them to collide. */
static uint64_t hash_of(const char *text, uint32_t length) {
    static uint64_t seed;
    uint64_t hash = load_relaxed(&seed);
    if (unlikely(hash == 0)) {
        const void *random = (const void *)loader_auxiliary(AT_RANDOM);
        if (random != NULL) memcpy(&hash, random, sizeof hash);
        hash |= 1;
        store_relaxed(&seed, hash);
    }
    for (uint32_t i = 0; i < length; i++) {
        __uint128_t product = (__uint128_t)(hash ^ (uint8_t)text[i]) * 0x9E3779B97F4A7C15ull;
        hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return hash;
}

static bool is_text(const struct tag *tag, const char *text, uint32_t length) {
    return tag->length == length && memcmp(texts + tag->text, text, length) == 0;
}

/* Advances a counter by `count`, up to `most`. Returns its old value, or 0 if there is no room. */
static uint32_t take(uint32_t *counter, uint32_t count, uint32_t most) {
    uint32_t seen = load_relaxed(counter);
    do {
        if (count > most - seen) return 0;
    } while (!cas_relaxed(counter, &seen, seen + count));
    return seen;
}

/* A new tag, which nobody can find yet. TAG_NONE if there is no room. */
static uint32_t make(const char *text, uint32_t length) {
    uint32_t bytes = (uint32_t)(sizeof(uint32_t) + length + 1 + 3) & ~3u;
    uint32_t at = take(&used_bytes, bytes, TEXT_BYTES),
             number = at == 0 ? 0 : take(&used, 1, TAG_FIRST + HEAP_TAGS_MOST);
    if (number == 0) return TAG_NONE;
    memcpy(texts + at, &number, sizeof number);
    memcpy(texts + at + sizeof number, text, length);
    tags[number].text = at + (uint32_t)sizeof number;
    tags[number].length = length;
    return number;
}

static uint32_t number_of(const char *text, uint32_t length) {
    const uint64_t hash = hash_of(text, length);
    uint32_t made = TAG_NONE;
    for (uint32_t i = 0; i < PROBE_MOST; i++) {
        uint32_t *slot = &slots[(hash + i) % SLOTS], number = load_acquire(slot);
        if (number == 0) {
            if (made == TAG_NONE) made = make(text, length);
            if (made == TAG_NONE) return TAG_REFUSED;
            if (cas_acq_rel(slot, &number, made)) return made; /* partner: the acquires here */
        }
        if (is_text(&tags[number], text, length)) return number;
    }
    return TAG_REFUSED;
}

/* The number of a text that tags_set returned; TAG_NONE if it is another. */
static uint32_t number_returned(const char *text) {
    if (text == refused) return TAG_REFUSED;
    uintptr_t at = (uintptr_t)text - (uintptr_t)texts;
    if (at < 2 * sizeof(uint32_t) || at >= TEXT_BYTES || at % sizeof(uint32_t) != 0) return TAG_NONE;
    uint32_t number;
    memcpy(&number, text - sizeof number, sizeof number);
    return number >= TAG_FIRST && number < load_relaxed(&used) && tags[number].text == at ? number : TAG_NONE;
}

/* The number of a text that is longer than a tag may be: of its beginning, with an ellipsis. */
static uint32_t number_of_long(const char *text) {
    static const char ellipsis[] = "\xE2\x80\xA6";
    char cut[HEAP_TAG_BYTES];
    uint32_t length = HEAP_TAG_BYTES - (sizeof ellipsis - 1);
    while (length > 0 && ((uint8_t)text[length] & 0xC0) == 0x80) length--; /* not within a character of UTF-8 */
    memcpy(cut, text, length);
    memcpy(cut + length, ellipsis, sizeof ellipsis - 1);
    return number_of(cut, length + (uint32_t)(sizeof ellipsis - 1));
}

uint32_t tags_number(const char *text, size_t length) {
    return length > HEAP_TAG_BYTES ? number_of_long(text) : number_of(text, (uint32_t)length);
}

const char *tags_set(const char *text) {
    const uint32_t before = local.tag_set;
    uint32_t number = TAG_NONE;
    if (text != NULL && *text != '\0') {
        number = number_returned(text);
        if (number == TAG_NONE) number = tags_number(text, strnlen(text, HEAP_TAG_BYTES + 1));
    }
    store_relaxed(&local.tags, (uint64_t)number << 32 | number);
    return before == TAG_NONE ? NULL : before == TAG_REFUSED ? refused : texts + tags[before].text;
}

uint64_t tags_frame(uint32_t number) {
    struct tag *tag = &tags[number];
    const uint64_t own = local.image << 32;
    uint64_t place = load_acquire(&tag->place); /* partner: the swap below */
    if (number != TAG_REFUSED && (place == 0 || (place ^ own) >> 32 != 0)) {
        const struct heap_string copy = image_string(texts + tag->text, tag->length);
        /* If another thread was faster, its copy counts, and this one is only space. */
        const uint64_t mine = own | copy.offset;
        if (copy.offset == 0) place = 0;
        else if (cas_acq_rel(&tag->place, &place, mine) || (place ^ own) >> 32 != 0) place = mine;
    }
    if (!(load_relaxed(&image.header->flags) & HEAP_FLAG_TAGS)) or_relaxed(&image.header->flags, HEAP_FLAG_TAGS);
    if (number == TAG_REFUSED || place == 0) return heap_tag_frame((struct heap_string){0, 0});
    return heap_tag_frame((struct heap_string){(uint32_t)place, tag->length});
}
