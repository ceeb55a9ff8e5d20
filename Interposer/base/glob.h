/*
 * Matching names against patterns, as fnmatch(3) does without flags. libc's fnmatch depends on the locale and may
 * allocate.
 */
#ifndef HEAPSUM_GLOB_H
#define HEAPSUM_GLOB_H

#include <stdbool.h>

/* Whether the name matches the pattern: `*` stands for any bytes, `?` for one, `[a-z]` and `[!a-z]` for one of a set;
 * `\` takes the next byte literally. Complexity: at most the product of the two lengths. */
bool glob_matches(const char *pattern, const char *name);

#endif
