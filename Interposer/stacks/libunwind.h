/*
 * libunwind, where it is installed: the way for architectures that our own unwinder does not know, and its oracle.
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
 * Unwinds from here, our own frames included; loads libunwind where that is due and safe for a hook called from
 * `caller`. False, and no pcs, where there is no libunwind (yet). Keeps errno.
 */
bool libunwind_unwind(uintptr_t caller, struct pcs *pcs);

#endif
