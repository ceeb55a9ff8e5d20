/*
 * Unwinding, whichever way: from a hook's frame to a stack's number. What is common to the ways is in here: leaving out the hooks
 * and a C++ runtime's operators, cutting at the depth limit, and holding our own unwinder against libunwind.
 */
#include "unwind.h"

#include <string.h>

#include "atomics.h"
#include "hook.h"
#include "libunwind.h"
#include "modules.h"
#include "next.h"
#include "options.h"
#include "tree.h"
#include "unwind_own.h"
#include "rules.h"

static struct module_span own, runtime;

bool unwind_is_own(uintptr_t pc) { return module_span_holds(&own, pc); }
bool unwind_is_runtime(uintptr_t pc) { return module_span_holds(&runtime, pc); }

void unwind_start(void) {
    module_span_of((uintptr_t)&unwind_start, &own);
    libunwind_start();
}

uint32_t unwind_kind(void) {
    if (options.unwinder != HEAP_UNWINDER_LIBUNWIND) return options.unwinder;
    return libunwind_is_loaded() ? HEAP_UNWINDER_LIBUNWIND : HEAP_UNWINDER_NONE;
}

void unwind_know_runtime(uintptr_t address_in_module) {
    struct module_span found;
    if (runtime.end != 0 || !module_span_of(address_in_module, &found)) return;
    runtime.start = found.start;
    fence_compiler(); /* a span that is half set holds nothing: its end is 0 */
    runtime.end = found.end;
}

void unwind_forget(void) {
#ifdef OWN_UNWINDER
    rules_forget();
#endif
    libunwind_forget();
}

void unwind_fork_begin(void) { libunwind_fork_begin(); }
void unwind_fork_end(bool in_child) { libunwind_fork_end(in_child); }

/* ---- From return addresses to a stack's number ------------------------------------------------------- */

/*
 * How many of the innermost pcs are not the program's: our hooks, and a C++ runtime's operators new between
 * them (the nothrow ones call the plain ones). Only those lie so: where a signal handler interrupted a hook, frames of
 * more than one module lie between that hook and its own.
 */
static size_t own_frames(void *const *pcs, size_t count) {
    size_t skip = 0;
    for (;;) {
        while (skip < count && unwind_is_own((uintptr_t)pcs[skip])) skip++;
        size_t next_own = skip;
        while (next_own < count && next_own < skip + 4 && !unwind_is_own((uintptr_t)pcs[next_own])) next_own++;
        if (next_own == skip || next_own == count || next_own == skip + 4) return skip;
        for (size_t between = skip; between < next_own; between++)
            if (!unwind_is_runtime((uintptr_t)pcs[between])) return skip;
        skip = next_own;
    }
}

static void leave_out_own(struct pcs *pcs) {
    size_t skip = own_frames(pcs->values, pcs->count);
    pcs->values += skip;
    pcs->count -= skip;
}

static inline void append(struct stack_space *space, size_t *count, uint64_t frame) {
    space->frames[*count] = frame;
    space->hashes[*count] = tree_hash(*count > 0 ? space->hashes[*count - 1] : tree_root_hash(), frame);
    (*count)++;
}

/* Puts a stack together, outermost first: of one over the limit the outermost quarter and the innermost rest, with the cut between them. */
static uint32_t stack_of(const struct pcs *pcs, struct stack_space *space, struct frame_cache *cache) {
    size_t depth = image.header->depth, kept = 0, count = pcs->count;
    size_t outermost = count > depth && pcs->complete ? depth / 4 : 0;
    size_t innermost = count > depth ? depth - outermost : count;
    if (options.threads) append(space, &kept, thread_root());
    for (size_t i = 0; i < outermost; i++) append(space, &kept, frame_of((uintptr_t)pcs->values[count - 1 - i], cache));
    if (count > depth || !pcs->complete) {
        append(space, &kept, heap_frame_make(HEAP_MODULE_CUT, 0));
        LOSE(cut_stacks, 1);
    }
    for (size_t i = innermost; i-- > 0;) append(space, &kept, frame_of((uintptr_t)pcs->values[i], cache));
    return tree_stack(space->frames, space->hashes, kept);
}

/* ---- The memo's stack ---------------------------------------------------------------------------------- */

#ifdef OWN_UNWINDER

/* A memo's stack that is over the depth limit: the outermost quarter and the innermost rest, with the cut between them. */
static uint32_t stack_of_deep_memo(const struct memo *memo, struct stack_space *space) {
    uint32_t count = memo->base + memo->leaf.outer, depth = image.header->depth;
    bool cut = memo_outermost(memo) != RULE_END; /* at the outermost end, so there is one cut already */
    uint32_t outermost = memo->base + (cut ? 0 : depth / 4), innermost = cut ? depth : depth - depth / 4;
    size_t kept = outermost;
    memcpy(space->frames, memo->frames, outermost * sizeof space->frames[0]);
    memcpy(space->hashes, memo->hashes, outermost * sizeof space->hashes[0]);
    if (!cut) append(space, &kept, heap_frame_make(HEAP_MODULE_CUT, 0));
    for (uint32_t i = count - (innermost - 1); i < count; i++) append(space, &kept, memo->frames[i]); /* one of the innermost is the leaf */
    append(space, &kept, memo->leaf.frame.id);
    return tree_stack(space->frames, space->hashes, kept);
}

/* The number of the stack that a memo holds. */
static inline uint32_t stack_of_memo(struct memo *memo, struct scratch *scratch) {
    bool deep = memo->leaf.outer + 1 > image.header->depth;
    if (unlikely(deep || memo_outermost(memo) != RULE_END)) LOSE(cut_stacks, 1);
    if (likely(memo->leaf.stack != 0)) return memo->leaf.stack;
    uint64_t hash = memo->leaf.hash;
    __typeof__(&scratch->recent[0]) recent = &scratch->recent[hash % RECENT_STACKS];
    if (likely(recent->hash == hash) && likely(recent->stack != 0)) return memo->leaf.stack = recent->stack;
    uint32_t stack = deep ? stack_of_deep_memo(memo, &scratch->spaces[0])
                          : tree_stack_below(memo->frames, memo->hashes, memo->base + memo->leaf.outer, memo->leaf.frame.id, hash);
    if (unlikely(stack == TREE_EMPTY_STACK)) return stack; /* there was no space: perhaps there is, the next time */
    recent->stack = 0;
    fence_compiler();
    recent->hash = hash;
    fence_compiler();
    return memo->leaf.stack = recent->stack = stack;
}

/* Holds a memo against libunwind, which starts from the same frame. */
static void compare(const struct memo *memo, const struct hook *hook) {
    struct pcs pcs = {.values = local.scratch->pcs, .most = UNWIND_MOST};
    if (!libunwind_unwind(hook->caller, &pcs)) return;
    leave_out_own(&pcs);
    uint32_t outer = memo->leaf.outer;
    bool equal = pcs.count == outer + 1 && (uintptr_t)pcs.values[0] == memo->leaf.frame.state.pc;
    for (uint32_t i = 0; equal && i < outer; i++) equal = (uintptr_t)pcs.values[1 + i] == memo->memory[outer - 1 - i].state.pc;
    add_relaxed(&image.header->verified_stacks, 1);
    if (!equal) add_relaxed(&image.header->differing_stacks, 1);
}

/* The innermost frame that is the program's. */
static inline struct machine_state caller_of(const struct hook *hook, struct cfi_space *cfi) {
    struct machine_state state = own_caller(hook->frame);
    while (unlikely(unwind_is_runtime(state.pc)) && own_skip_operators(&state, cfi)) {}
    return state;
}

#endif

/* Every way but the memo: return addresses first, then their stack. */
static __attribute__((noinline)) uint32_t stack_by_pcs(const struct hook *hook) {
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
            if (own_walk(caller_of(hook, cfi), &pcs, cfi)) break;
            own_interpret(&pcs, cfi);
            leave_out_own(&pcs);
            break;
        }
        case HEAP_UNWINDER_FP:
            own_follow_frame_pointers(own_caller(hook->frame), &pcs);
            break;
#endif
        default:
            if (libunwind_unwind(hook->caller, &pcs)) leave_out_own(&pcs);
    }
    if (unlikely(pcs.count == 0)) {
        pcs.values[0] = (void *)hook->caller;
        pcs.count = 1;
        pcs.complete = false;
    }
    return stack_of(&pcs, &scratch->spaces[hook->level], nested ? &scratch->nested_frames : &scratch->frames);
}

uint32_t unwind_stack(const struct hook *hook) {
#ifdef OWN_UNWINDER
    if (likely(options.unwinder == HEAP_UNWINDER_OWN && hook->level == 0)) {
        struct scratch *scratch = local.scratch;
        struct memo *memo = own_unwind(&scratch->own, caller_of(hook, &scratch->cfi[0]), &scratch->frames, &scratch->cfi[0]);
        if (likely(memo != NULL)) {
            if (unlikely(options.verify)) compare(memo, hook);
            return stack_of_memo(memo, scratch);
        }
    }
#endif
    return stack_by_pcs(hook);
}
