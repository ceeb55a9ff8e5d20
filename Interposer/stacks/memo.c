/*
 * The verified memo.
 *
 * Why it is sound. A frame's state is its pc, its stack pointer and, if outer rules use it, its frame pointer. The
 * rules are a function of the pc. A step is a function of the state and of the words that the rule reads from the
 * stack. The memo keeps each frame's state, and the addresses and values of those words. When a new unwinding meets a
 * remembered frame in the same state, it re-reads the words from there outwards, in order, and stops at the first that
 * differs. As long as each word holds its value, the next state is the remembered one, and so is the address of the
 * next word. So the answer is the one that stepping would give, no matter how the stack was built, and no address is
 * read that stepping would not read. The memo becomes invalid only when the rules change: with a new generation of the
 * modules.
 *
 * The innermost frame, the leaf, is never kept, because its pc differs at each of its calls: unwinding always steps out
 * of it. Entries inside the last stack's leaf stay, in case the program calls down the same path again.
 *
 * A signal handler may leave by longjmp at any line of this file. So `count` never covers a word whose frame is half
 * written, and a remembered stack's number is cleared first and written last.
 */
#include "stacks/memo.h"

#ifdef OWN_UNWINDER

#include <string.h>

#include "base/atomics.h"
#include "base/machine.h"
#include "base/options.h"
#include "image/image.h"
#include "stacks/scratch.h"
#include "stacks/tags.h"
#include "stacks/tree.h"
#include "stacks/unwind_own.h"

#define WORD MEMO_WORD
#define FRAME MEMO_FRAME

/* ---- What is remembered of pcs, stack memories and stacks ------------------------------------------------ */

/* Looks up a pc that is not in the table. An interrupted pc is treated like any other key: key + 1 is its return
 * address. */
static __attribute__((noinline)) struct pc_entry fill(struct pc_entry *entry, uintptr_t key, struct scratch *scratch) {
    uint64_t rule = rule_for(key, &scratch->cfi[0]) & ((1ull << RULE_BITS) - 1);
    struct pc_entry filled = {
        .word = key >> PC_ENTRIES_LOG2 << RULE_BITS | rule, .id = frame_of(key + 1, &scratch->modules)};
    /* A guess for code outside of all modules is not kept: a JIT compiler may put other code there. */
    if (rule_kind(rule) == RULE_GUESS && heap_frame_module(filled.id) == HEAP_MODULE_NONE) return filled;
    entry->word = 0;
    fence_compiler();
    entry->id = filled.id;
    fence_compiler();
    entry->word = filled.word;
    return filled;
}

/* The rule (in the word's low bits) and the frame of the instruction at `key`. */
static inline __attribute__((always_inline)) struct pc_entry known_pc(struct scratch *scratch, uintptr_t key) {
    struct pc_entry *entry = &scratch->memory.pcs[(key ^ key >> PC_ENTRIES_LOG2) & ((1u << PC_ENTRIES_LOG2) - 1)];
    if (likely((entry->word >> RULE_BITS) == (key >> PC_ENTRIES_LOG2))) return *entry;
    return fill(entry, key, scratch);
}

void memory_forget(struct memory *memory) {
    for (uint32_t i = 0; i < MEMOS; i++) memory->memos[i].count = memory->memos[i].outer = 0;
}

/* The memo for a stack that the last used memo does not cover, or the last used memo after modules were unloaded. NULL
 * for a stack that is at least as deep as one that didn't fit. */
static __attribute__((noinline)) struct memo *memo_for(struct memory *memory, uintptr_t sp) {
    uint32_t generation = loader_generation();
    if (memory->generation != generation) {
        /* at generation 0 the pages are still untouched */
        if (memory->generation != 0) memset(memory->pcs, 0, sizeof memory->pcs);
        memory_forget(memory);
        memory->generation = generation;
    }
    rules_check();
    for (uint32_t i = 0; i < MEMOS; i++) {
        struct memo *memo = &memory->memos[i];
        if (sp <= memo->deep_sp && sp >= memo->deep_low) {
            if (memo->deep_skips++ % MEMO_DEEP_TRIES != 0) return NULL;
            memo->bounds.low = memo->deep_low;
            memo->deep_sp = 0;
        }
        if (sp - memo->bounds.low < memo->bounds.high - memo->bounds.low) return memory->memo = memo;
    }
    struct memo *memo = memory->memo == &memory->memos[0] ? &memory->memos[1] : &memory->memos[0];
    memory->memo = memo;
    memo->count = memo->outer = 0;
    memo->deep_sp = 0;
    for (uint32_t i = 0; i < MEMO_GROUP; i++) memo->words[i] = (struct memo_word){(uintptr_t)&memo->zero, 0};
    memo->bounds = bounds_of_stack(sp);
    return memo;
}

/* Looks up a stack over the depth limit: the outermost quarter and the innermost rest of its frames, with the cut
 * between them. If its outermost end is cut already, there is no second cut. */
static struct tree_stack look_up_deep(struct stack_space *space, struct memo *memo, uint64_t leaf, uint32_t all) {
    uint32_t depth = options.depth;
    bool cut = FRAME(memo, -1)->depth != 0;
    uint32_t outermost = cut ? 0 : depth / 4, innermost = depth - outermost;
    stack_begin(space);
    for (uint32_t i = 0; i < memo->root_count; i++) stack_append(space, memo->roots[i]);
    for (uint32_t i = 0; i < memo->outer; i++) {
        const struct memo_frame *frame = FRAME(memo, i);
        uint32_t at = frame->depth & ~MEMO_CUT;
        if (frame->flags & MEMO_EXTRA) continue;
        if (!cut && at == outermost + 1) stack_append(space, heap_frame_make(HEAP_MODULE_CUT, HEAP_CUT_DEPTH));
        if (at <= outermost || all - at < innermost) stack_append(space, frame->id);
    }
    stack_append(space, leaf);
    return tree_stack(0, space->frames, space->nodes, space->count);
}

/* Looks the stack up from the innermost frame whose node is known, which is nearly always a few frames away. */
static struct tree_stack look_up_fresh(struct stack_space *space, struct memo *memo, uint64_t leaf) {
    uint32_t first = memo->outer, count = 0;
    while (first > 0 && FRAME(memo, first - 1)->node == 0) first--;
    uint32_t outer = FRAME(memo, first - 1)->node, roots = first == 0 && outer == 0 ? memo->root_count : 0;
    for (; count < roots; count++) space->frames[count] = memo->roots[count];
    for (uint32_t i = first; i < memo->outer; i++)
        if (likely(!(FRAME(memo, i)->flags & MEMO_EXTRA))) space->frames[count++] = FRAME(memo, i)->id;
    space->frames[count++] = leaf;
    struct tree_stack stack = tree_stack(outer, space->frames, space->nodes, count);
    count = 0;
    if (roots > 0) FRAME(memo, -1)->node = outer = space->nodes[(count = roots) - 1];
    for (uint32_t i = first; i < memo->outer; i++) {
        if (likely(!(FRAME(memo, i)->flags & MEMO_EXTRA))) outer = space->nodes[count++];
        FRAME(memo, i)->node = outer;
    }
    return stack;
}

/* The stack's number, with RECENT_IS_CUT if the stack is cut. */
static __attribute__((noinline)) uint32_t look_up_stack(
    struct scratch *scratch, struct memo *memo, uint64_t leaf, uint64_t hash) {
    uint32_t all = (FRAME(memo, memo->outer - 1)->depth & ~MEMO_CUT) + 1;
    struct tree_stack stack = all > options.depth ? look_up_deep(&scratch->spaces[0], memo, leaf, all)
                                                  : look_up_fresh(&scratch->spaces[0], memo, leaf);
    if (unlikely(stack.number == TREE_EMPTY_STACK)) return stack.number; /* not kept: next time there may be space */
    struct recent_stack *recent = &scratch->memory.recent[hash % RECENT_STACKS];
    recent_keep(recent, hash, stack, FRAME(memo, memo->outer - 1)->node);
    return recent->stack;
}

/* ---- Joining the memo -------------------------------------------------------------------------------------- */

/* The likely entry of the word at this address. Nearly all frames are found where they were last time, without a
 * search. */
static inline __attribute__((always_inline)) uint16_t *hint(struct memo *memo, uintptr_t address) {
    return &memo->hints[(address + 8) / 8 % MEMO_HINTS];
}

/* A frame's stack pointer: kept, or known by its word's address. */
static inline __attribute__((always_inline)) uintptr_t sp_of(const struct memo *memo, uint32_t at) {
#ifdef MACHINE_HAS_LINK_REGISTER
    return FRAME(memo, at)->sp;
#else
    return WORD(memo, at)->address + 8;
#endif
}

/* Finds the innermost of the `count` outermost words that differs from its value. Returns how many entries lie outside
 * it. */
static __attribute__((noinline)) uint32_t outwards_of_difference(const struct memo *memo, uint32_t count) {
    while (count > 0 && word_at(WORD(memo, count - 1)->address) == WORD(memo, count - 1)->value) count--;
    return count > 0 ? count - 1 : 0;
}

/* Whether the entry is a frame in exactly this state. */
static inline __attribute__((always_inline)) bool is_met(
    const struct memo *memo, uint32_t at, const struct machine_state *state) {
    uint32_t flags = FRAME(memo, at)->flags;
    return likely(WORD(memo, at)->address == state_address(state)) && WORD(memo, at)->value == state_word(state)
#ifdef MACHINE_HAS_LINK_REGISTER /* else the word's address said so */
        && likely(sp_of(memo, at) == state->sp)
#endif
        && likely(flags == 0 || (flags == MEMO_FP_MATTERS && FRAME(memo, at)->fp == state->fp));
}

/* ---- Taking fresh frames in -------------------------------------------------------------------------------- */

/* Starts a memo from scratch, with the frames outside the outermost one. */
static void begin(struct memo *memo, bool cut) {
    memo->count = 0;
    memo->root_count = 0;
    *FRAME(memo, -1) = (struct memo_frame){.hash = tree_seed, .depth = cut ? MEMO_CUT : 0};
    if (memo->tag != 0) memo->roots[memo->root_count++] = tags_frame(memo->tag);
    if (options.threads) memo->roots[memo->root_count++] = thread_root();
    if (cut) memo->roots[memo->root_count++] = heap_frame_make(HEAP_MODULE_CUT, 0);
    for (uint32_t i = 0; i < memo->root_count; i++)
        FRAME(memo, -1)->hash = tree_hash(FRAME(memo, -1)->hash, memo->roots[i]);
}

/* Forgets a memo's entries, because they are rooted in another tag than the thread's. A tag that a signal handler sets
 * meanwhile counts from the next stack on. */
static __attribute__((noinline)) void retag(struct memo *memo) {
    memo->count = memo->outer = 0;
    fence_compiler();
    memo->tag = local.tag;
}

/* Writes field by field: a frame that is built elsewhere and copied as a whole stalls on its own stores, for twelve
 * cycles and more. */
static inline __attribute__((always_inline)) void put(struct memo *memo, uint32_t at, uintptr_t address,
    uintptr_t value, uint64_t hash, uint64_t id, uintptr_t fp, uintptr_t sp, uint32_t depth, uint32_t flags) {
    struct memo_word *word = WORD(memo, at);
    struct memo_frame *frame = FRAME(memo, at);
    word->address = address;
    word->value = value;
    frame->hash = hash;
    frame->id = id;
    frame->fp = fp;
#ifdef MACHINE_HAS_LINK_REGISTER
    frame->sp = sp;
#else
    (void)sp;
#endif
    frame->depth = depth;
    frame->flags = flags;
    frame->leaf_pc = 0;
    frame->node = 0;
    *hint(memo, address) = (uint16_t)at;
}

/* Puts a word that was read to step out of the frame inside `outer`. */
static void put_extra(
    struct memo *memo, uint32_t at, uintptr_t address, uintptr_t value, const struct memo_frame *outer) {
    put(memo, at, address, value, outer->hash, outer->id, outer->fp, 0, outer->depth, outer->flags | MEMO_EXTRA);
}

/*
 * Puts a fresh frame that is not of the common kind: first the other words that were read to step out of it to `caller`
 * (NULL: it is the outermost), then its own word. `inner_sp` is the stack pointer of the next inner frame. A saved
 * frame pointer is left out if no outer frame uses it, because it may change. Returns the next free entry.
 */
static __attribute__((noinline)) uint32_t put_slowly(struct memo *memo, uint32_t at, const struct memo_fresh *fresh,
    const struct machine_state *caller, uintptr_t inner_sp) {
    const struct memo_frame outer = *FRAME(memo, at - 1);
    const struct machine_state *state = &fresh->state;
    bool outer_fp_matters = outer.flags & MEMO_FP_MATTERS, fp_matters = true;
    bool saved = rule_saves_fp(fresh->rule);
    switch (rule_kind(fresh->rule)) {
#ifdef MACHINE_HAS_LINK_REGISTER
        case RULE_LEAF: fp_matters = outer_fp_matters; break;
        case RULE_GUESS: /* the caller's stack pointer is found by its frame pointer */
            if (caller != NULL) put_extra(memo, at++, state->fp, caller->fp, &outer);
            break;
#endif
        case RULE_SP:
            fp_matters = !saved && outer_fp_matters;
            /* fall through */
        case RULE_FP:
#ifndef MACHINE_HAS_LINK_REGISTER
        case RULE_GUESS:
#endif
            if (caller != NULL && outer_fp_matters && saved)
                put_extra(memo, at++, caller->sp - rule_saved_fp(fresh->rule), caller->fp, &outer);
            break;
#ifndef MACHINE_HAS_LINK_REGISTER
        case RULE_REALIGNED:
            if (caller == NULL) break;
            if (outer_fp_matters) put_extra(memo, at++, state->fp, caller->fp, &outer);
            put_extra(memo, at++, state->fp + (uintptr_t)rule_cfa_offset(fresh->rule), caller->sp, &outer);
            break;
#endif
        case RULE_SIGNAL:
            fp_matters = false;
            if (caller == NULL) break;
            put_extra(memo, at++, state->sp + SIGNAL_FRAME_FP, caller->fp, &outer);
            put_extra(memo, at++, state->sp + SIGNAL_FRAME_SP, caller->sp, &outer);
            break;
        default: /* the stack ends here, by its table or for lack of a rule: only the pc decided that */
            fp_matters = false;
    }
    put(memo, at, fresh->exact ? state_signal_address(state, inner_sp) : state_address(state), state_word(state),
        tree_hash(outer.hash, fresh->id), fresh->id, state->fp, state->sp, outer.depth + 1,
        (fp_matters ? MEMO_FP_MATTERS : 0) | (fresh->exact ? MEMO_EXACT : 0));
    return at + 1;
}

/* Puts `count` fresh frames into the memo, inside the `kept` outermost entries. `leaf_sp` is the stack pointer of the
 * next inner frame. False if there is no room. */
static inline __attribute__((always_inline)) bool adopt(
    struct memo *memo, uint32_t kept, const struct memo_fresh *fresh, uint32_t count, uintptr_t leaf_sp) {
    if (unlikely(kept + 3 * count > MEMO_WORDS)) return false;
    memo->count = kept;
    fence_compiler();
    struct machine_state met = {0};
    if (kept > 0) met = state_of_caller(WORD(memo, kept - 1)->value, sp_of(memo, kept - 1), FRAME(memo, kept - 1)->fp);
    uint32_t at = kept, depth = FRAME(memo, kept - 1)->depth;
    uint64_t hash = FRAME(memo, kept - 1)->hash;
    bool common = FRAME(memo, kept - 1)->flags == 0;
    for (uint32_t i = count; i-- > 0;) {
        const struct memo_fresh *frame = &fresh[i];
        if (likely(common && (frame->rule & 7) == RULE_SP && !frame->exact)) {
            hash = tree_hash(hash, frame->id);
            put(memo, at++, state_address(&frame->state), state_word(&frame->state), hash, frame->id, frame->state.fp,
                frame->state.sp, ++depth, 0);
            continue;
        }
        const struct machine_state *caller = i + 1 < count ? &fresh[i + 1].state : kept > 0 ? &met : NULL;
        at = put_slowly(memo, at, frame, caller, i > 0 ? fresh[i - 1].state.sp : leaf_sp);
        hash = FRAME(memo, at - 1)->hash;
        depth = FRAME(memo, at - 1)->depth;
        common = FRAME(memo, at - 1)->flags == 0;
    }
    fence_compiler();
    memo->count = at;
    return true;
}

static bool give_up(struct memo *memo, uintptr_t innermost) {
    memo->deep_low = memo->bounds.low;
    memo->deep_skips = 1;
    memo->deep_sp = innermost;
    memo->bounds.low = innermost + 1;
    memo->count = memo->outer = 0;
    return false;
}

/* Remembers where the last stack's leaf joined the memo. A signal handler may leave by longjmp in the middle, so the pc
 * is cleared first and written last. */
static inline void keep_leaf(struct memory *memory, const struct memo *memo, uintptr_t sp) {
    struct memo_leaf *leaf = memo_leaf(memory, memo->leaf_pc, sp);
    leaf->pc = 0;
    fence_compiler();
    leaf->sp = sp;
    leaf->at = memo->outer - 1;
    leaf->address = WORD(memo, memo->outer - 1)->address;
    leaf->generation = memory->generation;
    fence_compiler();
    leaf->pc = memo->leaf_pc;
}

/* step(), for a state and an end of the stack that are kept in registers. */
static inline __attribute__((always_inline)) enum step step_by_any(
    struct machine_state *state, uint64_t rule, const struct memo *memo, uintptr_t *high) {
    struct machine_state moved = *state;
    struct cfi_bounds bounds = {memo->bounds.low, *high};
    enum step result = step(&moved, rule, &bounds);
    *state = moved;
    *high = bounds.high;
    return result;
}

/* rule_measured(), likewise. */
static inline __attribute__((always_inline)) uint64_t rule_by_any(
    uint64_t rule, const struct machine_state *state, uintptr_t key, const struct memo *memo, uintptr_t high) {
    if (likely(rule_kind(rule) != RULE_GUESS)) return rule;
    const struct machine_state at = *state;
    return rule_measured(rule, &at, key, &(struct cfi_bounds){memo->bounds.low, high});
}

/* ---- A stack -------------------------------------------------------------------------------------------------- */

/* Finds the frames. False if the memo can't answer. */
static inline __attribute__((always_inline)) bool walk(struct scratch *scratch, const uintptr_t leaf_pc,
    const uintptr_t leaf_sp, uintptr_t fp, struct pc_entry *leaf_entry) {
    struct memory *memory = &scratch->memory;
    struct memo *memo = memory->memo;
    if (unlikely(memo == NULL) || unlikely(leaf_sp - memo->bounds.low >= memo->bounds.high - memo->bounds.low)
        || unlikely(memory->generation != loader_generation()))
        memo = memo_for(memory, leaf_sp);
    if (unlikely(memo == NULL)) return false;
    if (unlikely(memo->tag != local.tag)) retag(memo);
    uintptr_t high = memo->bounds.high;
    struct machine_state state = state_of_caller(leaf_pc, leaf_sp, fp);
    const struct pc_entry leaf = known_pc(scratch, leaf_pc - 1);
    uint32_t fresh = 0, joined = 0; /* fresh frames, and the memo's entries outside them */
    if (unlikely(!step_plainly(&state, leaf.word, high))) {
        const uint64_t rule = rule_by_any(leaf.word, &state, leaf_pc - 1, memo, high);
        enum step result = step_by_any(&state, rule, memo, &high);
        if (result == STEP_INTERPRET || result == STEP_EXACT) return false;
        if (result != STEP_DONE) {
            begin(memo, result == STEP_NOWHERE);
            goto found;
        }
    }
    uint32_t known = memo->count; /* unwinding may still join the memo at entries [0, known) */
    for (bool exact = false;;) {
        uint32_t at = *hint(memo, state_address(&state));
        if (likely(at < known) && is_met(memo, at, &state) && likely(!exact)) {
            if (likely(memo_holds(memo, at))) {
                joined = at + 1;
                break;
            }
            /* the frame is in the same state, but a word further out differs: no entry from there inwards can be
             * used */
            known = outwards_of_difference(memo, at);
        }
        if (unlikely(fresh == MEMO_FRESH)) return give_up(memo, leaf_sp);
        const struct pc_entry entry = known_pc(scratch, state.pc - !exact);
        struct memo_fresh *frame = &memory->fresh[fresh++];
        state_copy(&frame->state, &state);
        frame->rule = entry.word;
        frame->id = entry.id;
        frame->exact = exact;
        exact = false;
        if (likely(step_plainly(&state, entry.word, high))) continue;
        /* the state is still the frame's */
        frame->rule = rule_by_any(entry.word, &state, frame->state.pc - !frame->exact, memo, high);
        enum step result = step_by_any(&state, frame->rule, memo, &high);
        exact = result == STEP_EXACT;
        if (result == STEP_DONE || exact) continue;
        if (result == STEP_INTERPRET) return false;
        /* without tables in libc, only the pc decided it */
        if (result == STEP_END && loader_has_musl()) frame->rule = rule_end();
        begin(memo, result == STEP_NOWHERE);
        break;
    }
    if (fresh > 0) {
        if (unlikely(!adopt(memo, joined, memory->fresh, fresh, leaf_sp))) return give_up(memo, leaf_sp);
        joined = memo->count;
    }
found:
    memo->outer = joined;
    memo->leaf_pc = leaf_pc;
    *leaf_entry = leaf;
    return true;
}

bool memo_walk(struct scratch *scratch, uintptr_t pc, uintptr_t sp, uintptr_t fp, uint64_t *leaf) {
    struct pc_entry entry;
    if (!walk(scratch, pc, sp, fp, &entry)) return false;
    *leaf = entry.id;
    return true;
}

uint32_t memo_stack(struct scratch *scratch, const uintptr_t leaf_pc, const uintptr_t leaf_sp, uintptr_t fp) {
    struct pc_entry leaf;
    if (unlikely(!walk(scratch, leaf_pc, leaf_sp, fp, &leaf))) return 0;
    struct memory *memory = &scratch->memory;
    struct memo *memo = memory->memo;
    const uint32_t joined = memo->outer;
    struct memo_frame *outer = FRAME(memo, joined - 1);
    if (likely(rule_kind(leaf.word) == RULE_SP) && likely(outer->flags == 0) && likely(joined > 0))
        keep_leaf(memory, memo, leaf_sp);
    if (likely(outer->leaf_pc == leaf_pc)) return outer->leaf_stack;
    uint64_t hash = tree_hash(outer->hash, leaf.id);
    const struct recent_stack *recent = &memory->recent[hash % RECENT_STACKS];
    uint32_t stack = recent->stack;
    if (likely(recent->hash == hash) && likely(stack != 0)) outer->node = recent->parent;
    else stack = look_up_stack(scratch, memo, leaf.id, hash);
    if (unlikely(stack & RECENT_IS_CUT)) { /* each block of such a stack is counted, so its number isn't kept here */
        LOSE(limited_allocations, 1);
        if (outer->depth >= options.depth) LOSE(cut_stacks, 1);
        return stack & ~RECENT_IS_CUT;
    }
    if (unlikely(outer->depth >= options.depth)) {
        LOSE(cut_stacks, 1); /* as above */
    } else if (likely(stack != TREE_EMPTY_STACK)) {
        outer->leaf_pc = 0;
        fence_compiler();
        outer->leaf_stack = stack;
        fence_compiler();
        outer->leaf_pc = leaf_pc;
    }
    return stack;
}

void memo_pcs(const struct memory *memory, struct pcs *pcs) {
    const struct memo *memo = memory->memo;
    pcs->count = 0;
    pcs->values[pcs->count++] = (void *)memo->leaf_pc;
    for (uint32_t i = memo->outer; i-- > 0 && pcs->count < pcs->most;)
        if (!(FRAME(memo, i)->flags & MEMO_EXTRA))
            pcs->values[pcs->count++] = (void *)machine_strip(WORD(memo, i)->value);
    pcs->complete = FRAME(memo, -1)->depth == 0;
}

#endif
