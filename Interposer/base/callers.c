/*
 * The modules whose calls the hooks treat differently.
 */
#include "base/callers.h"

#include "base/atomics.h"

struct callers callers;

void callers_know(struct module_span *caller, uintptr_t address_in_module) {
    struct module_span found;
    if (caller->end != 0 || !loader_span_of(address_in_module, &found)) return;
    caller->start = found.start;
    fence_compiler(); /* while only the start is set, the end is 0 and the span is empty */
    caller->end = found.end;
}
