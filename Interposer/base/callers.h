/*
 * The few modules whose calls the hooks treat differently from the program's. Each span is set once, at the start or
 * when the module is first seen; other threads may read it meanwhile.
 */
#ifndef HEAPSUM_CALLERS_H
#define HEAPSUM_CALLERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loader.h"
#include "base/machine.h"

struct callers {
    struct module_span own;      /* this library */
    struct module_span hooks;    /* a library whose hooks book through ours: its code counts as our own */
    struct module_span mappings; /* the library of mappings/, likewise */
    /* the C++ runtime: if its operator new lies between two of our hooks, stacks leave it out */
    struct module_span runtime;
    struct module_span allocator; /* the next malloc's: what it calls during a hook belongs to that call */
    struct module_span unwinder;  /* libunwind: what it allocates is the recorder's */
};
extern HIDDEN struct callers callers;

/* Sets `*caller` to the span of the module that holds the address. Does nothing if the span is already set. */
void callers_know(struct module_span *caller, uintptr_t address_in_module);

static inline bool caller_is_own(uintptr_t pc) {
    return module_span_holds(&callers.own, pc) || module_span_holds(&callers.hooks, pc)
        || module_span_holds(&callers.mappings, pc);
}
static inline bool caller_is_runtime(uintptr_t pc) { return module_span_holds(&callers.runtime, pc); }

#endif
