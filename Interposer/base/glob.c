/*
 * A pattern's byte matches or not; a star takes as few bytes as it can, and one more each time that the rest doesn't match. Only the last
 * star met need be tried again, as what an earlier one could take, the last one can.
 */
#include "base/glob.h"

#include <stddef.h>

/* A class in brackets, from behind the '[': whether it holds `c`; *end is behind it. NULL as the end: it is no class, and the '[' an ordinary byte. */
static bool class_holds(const char *at, char c, const char **end) {
    bool negated = *at == '!' || *at == '^', holds = false;
    if (negated) at++;
    *end = NULL;
    for (bool first = true; *at != '\0' && (*at != ']' || first); first = false) {
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

/* Whether the pattern's next item matches `c`; moves the pattern behind the item. */
static bool item_matches(const char **pattern, char c) {
    const char *at = *pattern, *end;
    if (*at == '[') {
        bool holds = class_holds(at + 1, c, &end);
        if (end != NULL) {
            *pattern = end;
            return holds;
        }
    }
    if (*at == '\\' && at[1] != '\0') at++;
    else if (*at == '?') c = '?';
    *pattern = at + 1;
    return *at == c;
}

bool glob_matches(const char *pattern, const char *name) {
    const char *star = NULL, *from = NULL; /* behind the last star, and what it has not taken */
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
