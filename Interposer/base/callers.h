/*
 * Whose module is calling: the few that hooks treat in another way than the program's. Each is known once, at the start
 * or when it is first met, while others may look.
 */
#ifndef HEAPSUM_CALLERS_H
#define HEAPSUM_CALLERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loader.h"
#include "base/machine.h"

struct callers {
    struct module_span own;   /* this library */
    struct module_span hooks; /* one whose hooks book by ours: its code counts as our own */
    /* a C++ runtime: its operator new may lie between two of our hooks, and is left out of stacks then */
    struct module_span runtime;
    struct module_span allocator; /* the next malloc's: what it calls inside of a hook is part of the outer call */
    struct module_span unwinder;  /* libunwind: what it allocates is the recorder's */
};
extern HIDDEN struct callers callers;

/* Takes the module of this address for one of those; the first stays. */
void callers_know(struct module_span *caller, uintptr_t address_in_module);

static inline bool caller_is_own(uintptr_t pc) {
    return module_span_holds(&callers.own, pc) || module_span_holds(&callers.hooks, pc);
}
static inline bool caller_is_runtime(uintptr_t pc) { return module_span_holds(&callers.runtime, pc); }

#endif
