/* What Swift's Glibc module lacks of libc: malloc_trim(3). Declarations of libc's own headers, and nothing else. */
#ifndef HEAPSUM_FUZZ_H
#define HEAPSUM_FUZZ_H

#include <malloc.h>

#endif
