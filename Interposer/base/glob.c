/*
 * Matching with one backtracking point. A star first takes no bytes, then one more each time the rest fails to match.
 * Only the last star is retried: it can take whatever an earlier star could.
 */
#include "base/glob.h"

#include <stddef.h>
#include <string.h>

/* ---- Character classes, in the C locale ---------------------------------------------------------------- */

static bool is_within(unsigned char c, char first, char last) {
    return c >= (unsigned char)first && c <= (unsigned char)last;
}
static bool is_letter(unsigned char c) { return is_within(c, 'a', 'z') || is_within(c, 'A', 'Z'); }
static bool is_digit(unsigned char c) { return is_within(c, '0', '9'); }
static bool is_graphic(unsigned char c) { return is_within(c, '!', '~'); }
static bool is_space(unsigned char c) { return c == ' ' || is_within(c, '\t', '\r'); }

static bool is_of_class(const char *name, size_t length, unsigned char c) {
#define CLASS(text, test) \
    if (length == sizeof text - 1 && memcmp(name, text, length) == 0) return test;
    CLASS("alpha", is_letter(c))
    CLASS("digit", is_digit(c))
    CLASS("alnum", is_letter(c) || is_digit(c))
    CLASS("upper", is_within(c, 'A', 'Z'))
    CLASS("lower", is_within(c, 'a', 'z'))
    CLASS("xdigit", is_digit(c) || is_within(c, 'a', 'f') || is_within(c, 'A', 'F'))
    CLASS("space", is_space(c))
    CLASS("blank", c == ' ' || c == '\t')
    CLASS("punct", is_graphic(c) && !is_letter(c) && !is_digit(c))
    CLASS("graph", is_graphic(c))
    CLASS("print", is_graphic(c) || c == ' ')
    CLASS("cntrl", c < ' ' || c == 0x7F)
#undef CLASS
    return false;
}

/* ---- Matching ------------------------------------------------------------------------------------------ */

/* The end of a class's name, given the place after "[:" of "[:digit:]"; NULL if it has no end. */
static const char *end_of_class(const char *at) {
    while (is_within((unsigned char)*at, 'a', 'z')) at++;
    return at[0] == ':' && at[1] == ']' ? at : NULL;
}

/* Whether a set in brackets holds `c`; `at` is the place after '['. `*end` becomes the place after the set, or NULL if
 * there is no closing bracket and '[' is an ordinary byte. */
static bool set_holds(const char *at, char c, const char **end) {
    bool negated = *at == '!' || *at == '^', holds = false;
    if (negated) at++;
    *end = NULL;
    for (bool first = true; *at != '\0' && (*at != ']' || first); first = false) {
        const char *class_end = at[0] == '[' && at[1] == ':' ? end_of_class(at + 2) : NULL;
        if (class_end != NULL) {
            if (is_of_class(at + 2, (size_t)(class_end - at - 2), (unsigned char)c)) holds = true;
            at = class_end + 2;
            continue;
        }
        if (*at == '\\' && at[1] != '\0') at++;
        unsigned char low = (unsigned char)*at++, high = low;
        if (at[0] == '-' && at[1] != ']' && at[1] != '\0') {
            at++;
            if (*at == '\\' && at[1] != '\0') at++;
            high = (unsigned char)*at++;
        }
        if ((unsigned char)c >= low && (unsigned char)c <= high) holds = true;
    }
    if (*at == ']') *end = at + 1;
    return holds != negated;
}

/* Whether the pattern's next item matches `c`; moves the pattern past the item. */
static bool item_matches(const char **pattern, char c) {
    const char *at = *pattern, *end;
    bool is_any = *at == '?';
    if (*at == '[') {
        bool holds = set_holds(at + 1, c, &end);
        if (end != NULL) {
            *pattern = end;
            return holds;
        }
    }
    if (*at == '\\') {
        if (at[1] == '\0') return false; /* a backslash at the end escapes nothing */
        at++;
    }
    *pattern = at + 1;
    return is_any || *at == c;
}

bool glob_matches(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL; /* the place after the last star, and the name that it has not taken */
    for (;;) {
        if (*pattern == '*') {
            star = ++pattern;
            from = name;
        } else if (*name == '\0' && *pattern == '\0') {
            return true;
        } else if (*name == '\0' || *pattern == '\0' || !item_matches(&pattern, *name)) {
            if (*name == '\0' && *pattern != '\0') return false;
            if (star == NULL || *from == '\0') return false;
            pattern = star;
            name = ++from;
        } else {
            name++;
        }
    }
}
