/*
 * The architecture. All code that depends on it is in folders of its name, here, in hooks/ and in stacks/. A new
 * architecture needs those files and a line in here.
 */
#ifndef HEAPSUM_MACHINE_H
#define HEAPSUM_MACHINE_H

#if defined(__x86_64__)
#include "base/x86_64/machine.h"
#elif defined(__aarch64__)
#include "base/aarch64/machine.h"
#else
#error "this architecture is not known: see base/x86_64/machine.h"
#endif

/* For globals that hooks read. -fvisibility does not apply to a global that a header only declares, so each access
 * would go through the global offset table. */
#define HIDDEN __attribute__((visibility("hidden")))

#endif
