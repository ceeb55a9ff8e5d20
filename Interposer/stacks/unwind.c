/*
 * Unwinding: from a hook's frame to a stack's number. This file owns what all unwinders share: leaving out the hooks
 * and a C++ runtime's operators, cutting at the depth limit, and comparing our own unwinder with libunwind.
 */
#include "stacks/unwind.h"

#include <string.h>

#include "base/atomics.h"
#include "base/next.h"
#include "base/options.h"
#include "stacks/check.h"
#include "stacks/libunwind.h"
#include "stacks/memo.h"
#include "stacks/modules.h"
#include "stacks/python.h"
#include "stacks/rules.h"
#include "stacks/tags.h"
#include "stacks/thread_context.h"
#include "stacks/tree.h"
#include "stacks/unwind_own.h"
#include "threads/hook.h"

void unwind_start(void) {
    callers_know(&callers.own, (uintptr_t)&unwind_start);
    libunwind_start();
    python_start();
}

uint32_t unwind_kind(void) {
    if (options.unwinder != HEAP_UNWINDER_LIBUNWIND) return options.unwinder;
    return libunwind_is_loaded() ? HEAP_UNWINDER_LIBUNWIND : HEAP_UNWINDER_NONE;
}

void unwind_fork_begin(void) { libunwind_fork_begin(); }
void unwind_fork_end(bool in_child) { libunwind_fork_end(in_child); }

/* ---- From return addresses to a stack's number ------------------------------------------------------- */

/*
 * How many of the innermost pcs are not the program's: this library's hooks, and a C++ runtime's operators new between
 * them (the nothrow ones call the plain ones). Nothing else looks like that: if a signal handler interrupted a hook,
 * frames of more than one module lie between that hook and the handler's own.
 */
static size_t own_frames(void *const *pcs, size_t count) {
    size_t skip = 0;
    for (;;) {
        while (skip < count && caller_is_own((uintptr_t)pcs[skip])) skip++;
        size_t next_own = skip;
        while (next_own < count && next_own < skip + 4 && !caller_is_own((uintptr_t)pcs[next_own])) next_own++;
        if (next_own == skip || next_own == count || next_own == skip + 4) return skip;
        for (size_t between = skip; between < next_own; between++)
            if (!caller_is_runtime((uintptr_t)pcs[between])) return skip;
        skip = next_own;
    }
}

static void leave_out_own(struct pcs *pcs) {
    size_t skip = own_frames(pcs->values, pcs->count);
    pcs->values += skip;
    pcs->count -= skip;
}

/* Puts a stack together, outermost first. A stack over the limit keeps its outermost quarter and the innermost rest,
 * with the cut between them. `recents`: the thread's, or NULL in a nested hook. */
static uint32_t stack_of(
    const struct pcs *pcs, struct stack_space *space, struct module_cache *modules, struct recent_stack *recents) {
    size_t depth = image.header->depth, count = pcs->count;
    size_t outermost = count > depth && pcs->complete ? depth / 4 : 0;
    size_t innermost = count > depth ? depth - outermost : count;
    stack_begin(space);
    const uint32_t tag = local.tag;
    if (tag != 0) stack_append(space, tags_frame(tag));
    if (options.threads) stack_append(space, thread_root());
    for (size_t i = 0; i < outermost; i++)
        stack_append(space, frame_of((uintptr_t)pcs->values[count - 1 - i], modules));
    if (count > depth || !pcs->complete) {
        stack_append(space, heap_frame_make(HEAP_MODULE_CUT, HEAP_CUT_DEPTH));
        LOSE(cut_stacks, 1);
    }
    for (size_t i = innermost; i-- > 0;) stack_append(space, frame_of((uintptr_t)pcs->values[i], modules));
    struct recent_stack *recent = recents != NULL ? &recents[space->hash % RECENT_STACKS] : NULL;
    uint32_t number = recent != NULL && recent->hash == space->hash ? recent->stack : 0;
    if (number == 0) {
        struct tree_stack stack = tree_stack(0, space->frames, space->nodes, space->count);
        number = stack.number | (stack.is_cut ? RECENT_IS_CUT : 0);
        if (recent != NULL && number != TREE_EMPTY_STACK) recent_keep(recent, space->hash, stack, 0);
    }
    if (number & RECENT_IS_CUT) LOSE(limited_allocations, 1);
    return number & ~RECENT_IS_CUT;
}

#ifdef OWN_UNWINDER

/* Compares the memo's stack with libunwind's, which starts from the same frame. */
static void compare(const struct hook *hook) {
    struct scratch *scratch = local.scratch;
    struct pcs own_pcs = {.values = scratch->verified_pcs, .most = UNWIND_MOST_NESTED},
               pcs = {.values = scratch->pcs, .most = UNWIND_MOST};
    memo_pcs(&scratch->memory, &own_pcs);
    if (!libunwind_unwind(hook->caller, &pcs)) return;
    leave_out_own(&pcs);
    const bool ends_alike = own_pcs.count == pcs.count || own_pcs.count == own_pcs.most;
    const bool is_shorter = !ends_alike && !own_pcs.complete && own_pcs.count < pcs.count;
    bool agrees = ends_alike || is_shorter;
    for (size_t i = 0; agrees && i < own_pcs.count; i++) agrees = own_pcs.values[i] == pcs.values[i];
    add_relaxed(&image.header->verified_stacks, 1);
    if (!agrees) add_relaxed(&image.header->differing_stacks, 1);
    else if (is_shorter) add_relaxed(&image.header->shorter_stacks, 1);
}

/* The program's innermost frame, seen from a hook's frame. */
static inline struct machine_state caller_of(struct machine_frame hook_frame, struct cfi_space *cfi) {
    struct machine_state state = own_caller(hook_frame);
    while (unlikely(caller_is_runtime(state.pc)) && own_skip_operators(&state, cfi)) {}
    return state;
}

/* Compares the memo's stack with a walk without a memo. */
static __attribute__((noinline)) void check_by_walk(struct machine_state state, uint32_t stack) {
    struct scratch *scratch = local.scratch;
    struct pcs pcs = {.values = scratch->pcs, .most = UNWIND_MOST};
    if (own_walk(state, &pcs, &scratch->cfi[0])) {
        check_frames(stack, &pcs, &scratch->modules);
    }
}

static inline __attribute__((always_inline)) uint32_t stack_by_memo(struct machine_state state) {
    struct scratch *scratch = local.scratch;
    uint32_t stack = memo_usual(&scratch->memory, state.pc, state.sp);
    return stack != 0 ? stack : memo_stack(scratch, state.pc, state.sp, state.fp);
}

#endif

/* Every way but the memo: first finds the return addresses, then their stack. `at`: the program's innermost frame, or
 * NULL where the hook's frame leads to it. */
static __attribute__((noinline)) uint32_t stack_by_pcs(const struct hook *hook, const struct machine_state *at) {
    struct scratch *scratch = local.scratch;
    bool nested = hook->level > 0;
    struct pcs pcs = {
        .values = nested ? scratch->nested_pcs[hook->level - 1] : scratch->pcs,
        .most = nested ? UNWIND_MOST_NESTED : UNWIND_MOST,
    };
    switch (options.unwinder) {
#ifdef OWN_UNWINDER
        case HEAP_UNWINDER_OWN: {
            struct cfi_space *cfi = &scratch->cfi[hook->level];
            if (own_walk(at != NULL ? *at : caller_of(hook->frame, cfi), &pcs, cfi)) break;
            own_interpret(&pcs, cfi);
            leave_out_own(&pcs);
            break;
        }
        case HEAP_UNWINDER_FP: own_follow_frame_pointers(at != NULL ? *at : own_caller(hook->frame), &pcs); break;
#endif
        default:
            if (libunwind_unwind(hook->caller, &pcs)) leave_out_own(&pcs);
    }
    if (unlikely(pcs.count == 0)) {
        pcs.values[0] = (void *)hook->caller;
        pcs.count = 1;
        pcs.complete = false;
    }
    return stack_of(&pcs, &scratch->spaces[hook->level], nested ? &scratch->nested_modules : &scratch->modules,
        nested ? NULL : scratch->memory.recent);
}

static uint32_t stack_at(const struct hook *hook, const struct machine_state *at) {
    uint32_t stack = 0;
    const uint32_t tag = local.tag;
    if (unlikely(options.otel_context[0] != '\0')) thread_context_look(hook);
#ifdef OWN_UNWINDER
    if (options.unwinder == HEAP_UNWINDER_OWN && hook->level == 0) {
        const struct machine_state state = at != NULL ? *at : caller_of(hook->frame, &local.scratch->cfi[0]);
        if (options.python) stack = python_stack(local.scratch, state);
        const bool is_mixed = stack != 0;
        if (!is_mixed) stack = stack_by_memo(state);
        if (options.verify && stack != 0) compare(hook);
        if (options.check && stack != 0 && !is_mixed) check_by_walk(state, stack);
    }
#endif
    if (stack == 0) stack = stack_by_pcs(hook, at);
    if (unlikely(options.check)) check_stack(stack);
    /* that of the hook that a signal handler interrupted */
    if (unlikely(hook->level > 0) && options.otel_context[0] != '\0') local.tag = tag;
    return stack;
}

uint32_t unwind_stack(const struct hook *hook) { return stack_at(hook, NULL); }

uint32_t unwind_stack_at(const struct hook *hook, uintptr_t sp, uintptr_t fp) {
    const struct machine_state state = state_of_caller(hook->caller, sp, fp);
    return stack_at(hook, &state);
}

bool unwind_is_alone(void) { return unwind_kind() != HEAP_UNWINDER_LIBUNWIND && !options.verify; }

bool unwind_is_plain(void) {
#ifdef OWN_UNWINDER
    return options.unwinder == HEAP_UNWINDER_OWN && !options.verify && !options.check && !options.python
        && options.otel_context[0] == '\0' && image.header->depth > 0;
#else
    return false;
#endif
}

uint32_t unwind_plainly_slowly(struct machine_frame hook_frame) {
    uint32_t stack = 0;
#ifdef OWN_UNWINDER
    stack = stack_by_memo(caller_of(hook_frame, &local.scratch->cfi[0]));
#endif
    return likely(stack != 0)
        ? stack
        : stack_by_pcs(&(struct hook){.frame = hook_frame,
                           .caller = machine_strip(*(const uintptr_t *)(hook_frame.fp + sizeof(uintptr_t)))},
            NULL);
}
