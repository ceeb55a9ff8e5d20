/*
 * Puts the Python frames of a thread among its C frames.
 *
 * Each call of the interpreter's loop (_PyEval_EvalFrameDefault) is one C frame. CPython keeps a record of the call
 * among that frame's variables, so the record's address says which C frame it is: no name is compared, and inlining or
 * a split function can't mislead. That frame is replaced by the Python functions that it executes. If a record lies in
 * no frame, or their order differs, the stack stays as C has it.
 *
 * The memo verifies the C frames as always. What Python executes is read each time, and its hash is part of the stack's
 * key. So a stack is remembered only for the same C frames, the same code by content, and the same instructions.
 */
#include "stacks/python.h"

#ifdef OWN_UNWINDER

#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "image/image.h"
#include "stacks/memo.h"
#include "stacks/python_chain.h"
#include "stacks/python_names.h"
#include "stacks/scratch.h"
#include "stacks/tree.h"

#define IDS (MEMO_WORDS + 1 + PYTHON_FRAMES)

struct python_space {
    struct python_chain chain;
    struct python_place places[PYTHON_PLACES];
    uint64_t ids[IDS]; /* of the stack, innermost first */
};
_Static_assert(sizeof(struct python_space) <= PYTHON_SPACE_BYTES, "it fits its place in the scratch memory");

void python_start(void) { python_chain_start(); }

static void say(uint32_t version) {
    if (unlikely(load_relaxed(&image.header->python) == 0)) store_relaxed(&image.header->python, version | 1);
}

static uint32_t unmixed(void) {
    uint32_t *count = &image.header->unmixed_stacks;
    if (load_relaxed(count) != UINT32_MAX) add_relaxed(count, 1);
    return 0;
}

/* Whether an address is among the variables of the C frame with this stack pointer, whose caller has `outer_sp`. If
 * that is below, the two are on different stacks, and the frame is a signal's. */
static inline bool is_in(uintptr_t address, uintptr_t sp, uintptr_t outer_sp) {
    return address >= sp && address < outer_sp;
}

/*
 * The memo's entry with which the stack begins: 0, or where a greenlet was started. greenlet runs each on the thread's
 * own stack and copies what is there away while others run. So outside of a greenlet's first frame lies what another
 * one has there now. That first frame is one of greenlet's own, outside of all Python functions.
 */
static __attribute__((noinline)) uint32_t start_of_greenlet(const struct memo *memo, const struct python_chain *chain) {
    const uintptr_t outermost = chain->calls[chain->calls_count - 1].anchor;
    for (uint32_t at = memo->outer; at-- > 0;) {
        if (MEMO_FRAME(memo, at)->flags & MEMO_EXTRA || MEMO_WORD(memo, at)->address + 8 <= outermost) continue;
        if (python_is_greenlets(machine_strip(MEMO_WORD(memo, at)->value))) return at;
    }
    return 0;
}

/* Puts the frames together, innermost first, as far as the memo's entry `start`. Returns how many; 0 if the records
 * don't fit the C frames. */
static uint32_t mix(
    struct python_space *space, const struct memo *memo, uint32_t start, uint64_t leaf, uintptr_t leaf_sp) {
    struct python_chain *chain = &space->chain;
    uint32_t count = 0, call = 0, frame = 0;
    uint64_t id = leaf;
    uintptr_t sp = leaf_sp;
    for (uint32_t at = memo->outer;;) {
        const bool is_outermost = at == start;
        while (at > 0 && MEMO_FRAME(memo, at - 1)->flags & MEMO_EXTRA) at--;
        const uintptr_t outer_sp = at > 0 ? MEMO_WORD(memo, at - 1)->address + 8 : UINTPTR_MAX;
        if (call < chain->calls_count && is_in(chain->calls[call].anchor, sp, outer_sp)) {
            for (; frame < chain->calls[call].frames; frame++)
                space->ids[count++] = python_frame_id(chain, &chain->frames[frame], space->places);
            call++;
        } else {
            space->ids[count++] = id;
        }
        if (is_outermost || at == 0) return call == chain->calls_count ? count : 0;
        id = MEMO_FRAME(memo, at - 1)->id;
        sp = outer_sp;
        at--;
    }
}

/* The stack of these frames. One over the depth limit keeps its outermost quarter and the innermost rest. `is_cut`: the
 * outermost frames are missing. */
static struct tree_stack enter(
    struct stack_space *space, const struct memo *memo, bool is_cut, const uint64_t *ids, uint32_t count) {
    const uint32_t depth = options.depth;
    const uint32_t outermost = count > depth && !is_cut ? depth / 4 : 0;
    const uint32_t innermost = count > depth ? depth - outermost : count;
    /* The memo's last root is its own cut, if it has one. */
    const uint32_t roots = memo->root_count - (MEMO_FRAME(memo, -1)->depth != 0 && !is_cut);
    stack_begin(space);
    for (uint32_t i = 0; i < roots; i++) stack_append(space, memo->roots[i]);
    for (uint32_t i = 0; i < outermost; i++) stack_append(space, ids[count - 1 - i]);
    if (count > depth && !is_cut) stack_append(space, heap_frame_make(HEAP_MODULE_CUT, HEAP_CUT_DEPTH));
    for (uint32_t i = innermost; i-- > 0;) stack_append(space, ids[i]);
    return tree_stack(0, space->frames, space->nodes, space->count);
}

/* CPython is met when its module first appears in a stack. If it is running when the recording begins, that is the
 * stack of its first allocation, which is walked here for that reason alone. */
static const struct python_runtime *meet(struct scratch *scratch, struct machine_state leaf) {
    uint64_t frame;
    /* Of a usual stack all modules were met. */
    if (memo_usual(&scratch->memory, leaf.pc, leaf.sp) != 0) return NULL;
    memo_walk(scratch, leaf.pc, leaf.sp, leaf.fp, &frame);
    return python_runtime();
}

uint32_t python_stack(struct scratch *scratch, struct machine_state leaf_state) {
    struct python_space *space = (struct python_space *)scratch->python;
    struct python_chain *chain = &space->chain;
    const struct python_runtime *runtime = python_runtime();
    if (unlikely(runtime == NULL) && (runtime = meet(scratch, leaf_state)) == NULL) return 0;
    say(runtime->version);
    const enum python_read read = python_chain_read(chain);
    if (read != PYTHON_READ) return read == PYTHON_FAILED ? unmixed() : 0;
    uint64_t leaf;
    if (!memo_walk(scratch, leaf_state.pc, leaf_state.sp, leaf_state.fp, &leaf)) return unmixed();
    struct memory *memory = &scratch->memory;
    const struct memo *memo = memory->memo;
    const struct memo_frame *outer = MEMO_FRAME(memo, memo->outer - 1);
    const uint32_t start = unlikely(python_has_greenlets()) ? start_of_greenlet(memo, chain) : 0;
    const bool is_cut = start == 0 && outer->depth & MEMO_CUT;
    const uint32_t outside = MEMO_FRAME(memo, start - 1)->depth & ~MEMO_CUT;
    const uint64_t hash = tree_hash(tree_hash(outer->hash, leaf), chain->hash);
    const uint32_t all = (outer->depth & ~MEMO_CUT) - outside + 1 + chain->count - chain->calls_count;
    struct recent_stack *recent = &memory->recent[hash % RECENT_STACKS];
    uint32_t stack = recent->hash == hash ? recent->stack : 0;
    if (unlikely(stack == 0)) {
        const uint32_t count = mix(space, memo, start, leaf, leaf_state.sp);
        if (count == 0) return unmixed();
        const struct tree_stack entered = enter(&scratch->spaces[0], memo, is_cut, space->ids, count);
        if (unlikely(entered.number == TREE_EMPTY_STACK)) return entered.number; /* next time there may be space */
        recent_keep(recent, hash, entered, 0);
        stack = entered.number | (entered.is_cut ? RECENT_IS_CUT : 0);
    }
    if (unlikely(stack & RECENT_IS_CUT)) LOSE(limited_allocations, 1);
    if (unlikely(all > options.depth) || unlikely(is_cut)) LOSE(cut_stacks, 1);
    return stack & ~RECENT_IS_CUT;
}

#else

void python_start(void) {}

#endif
