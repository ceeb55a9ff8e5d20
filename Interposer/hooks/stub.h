/*
 * Exported functions in assembly, by architecture.
 */
#ifndef HEAPSUM_STUB_H
#define HEAPSUM_STUB_H

#if defined(__x86_64__)
#include "hooks/x86_64/stub.h"
#elif defined(__aarch64__)
#include "hooks/aarch64/stub.h"
#endif

#endif
