/*
 * libunwind, if it is installed: the unwinder for architectures that our own does not support, and the oracle of our
 * own.
 */
#ifndef HEAPSUM_LIBUNWIND_H
#define HEAPSUM_LIBUNWIND_H

#include <stdbool.h>
#include <stdint.h>

#include "stacks/unwind_own.h"

/* Looks at the process, once at the start. */
void libunwind_start(void);

bool libunwind_is_loaded(void);

/* Around a fork: see unwind.h. */
void libunwind_fork_begin(void);
void libunwind_fork_end(bool in_child);

/*
 * Unwinds from here; the library's own frames are among the pcs. Loads libunwind if it is not loaded yet and that is
 * safe in a hook called from `caller`. False, and no pcs, if libunwind is not available (yet). Keeps errno.
 */
bool libunwind_unwind(uintptr_t caller, struct pcs *pcs);

#endif
