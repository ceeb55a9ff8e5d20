/*
 * Names by patterns, as fnmatch(3) without flags: fnmatch itself is libc's, depends on the locale, and may allocate.
 */
#ifndef HEAPSUM_GLOB_H
#define HEAPSUM_GLOB_H

#include <stdbool.h>

/* Whether the name matches: `*` any bytes, `?` one, `[a-z]` and `[!a-z]` one of a class, `\` the next byte as it is.
 * Complexity: the product of the lengths at most. */
bool glob_matches(const char *pattern, const char *name);

#endif
