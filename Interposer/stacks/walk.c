/*
 * Walks by the rule cache alone, without a memo.
 */
#include "stacks/unwind_own.h"

#include "base/callers.h"
#include "include/heap_image.h"
#include "stacks/bounds.h"
#include "stacks/rules.h"

bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_bounds bounds = bounds_of_stack(state.sp);
    bool exact = false;
    rules_check();
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        const uintptr_t key = state.pc - !exact;
        const uint64_t rule = rule_measured(rule_for(key, cfi), &state, key, &bounds);
        pcs->values[pcs->count++] = (void *)(state.pc + exact);
        enum step result = step(&state, rule, &bounds);
        if (result == STEP_INTERPRET) return false;
        exact = result == STEP_EXACT;
        pcs->complete = result == STEP_END;
        if (result == STEP_NOWHERE || result == STEP_END) break;
    }
    return true;
}

bool own_skip_operators(struct machine_state *state, struct cfi_space *cfi) {
    /* the hooks that this looks for are a few frames away, in stack memory that is in use */
    struct cfi_bounds bounds = {state->sp, state->sp + HEAP_PAGE_BYTES};
    struct machine_state at = *state;
    bool met_hook = false;
    rules_check();
    /* At most: the runtime's operator, and one or two of this library's hooks (operator new[] jumps to operator
     * new). */
    for (int steps = 0; steps < 6; steps++) {
        bool own = caller_is_own(at.pc);
        if (own) met_hook = true;
        else if (met_hook || !caller_is_runtime(at.pc)) break;
        if (!step_plainly(&at, rule_for(at.pc - 1, cfi), bounds.high)) return false;
    }
    if (met_hook) *state = at;
    return met_hook;
}
