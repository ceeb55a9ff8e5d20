/*
 * The modules whose calls the hooks treat differently.
 */
#include "base/callers.h"

#include "base/atomics.h"

struct callers callers;

void callers_know(struct module_span *caller, uintptr_t address_in_module) {
    struct module_span found;
    if (caller->end != 0 || !loader_span_of(address_in_module, &found)) return;
    store_relaxed(&caller->start, found.start); /* in any order: while one is 0, the span is empty */
    store_relaxed(&caller->end, found.end);
}
