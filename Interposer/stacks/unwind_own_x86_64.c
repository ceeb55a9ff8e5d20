/*
 * Our own unwinder for x86-64: the rule cache, and the verified memo.
 *
 * Why the memo is sound. A frame's state is its pc, its stack pointer and, where the rules outwards use it, its frame
 * pointer. The rules are a function of the pc, and a step is a function of the state and of the words that the rule reads from the
 * stack. The memo keeps each frame's state and the words' addresses and values. A new unwinding that meets a
 * remembered frame in the same state re-reads those words from there outwards, in order, and stops at the first that
 * differs: as long as each word holds its value, each next state is the remembered one, and so is the address of the word after it. So the
 * answer is the one that stepping would give, however the stack came to be, and no address is read that stepping would not read.
 * Only a change of the rules themselves voids it: a new generation of the modules.
 */
#if defined(__x86_64__)

#include "unwind_own.h"

#include <string.h>

#include "atomics.h"
#include "hook.h"
#include "image.h"
#include "rules.h"
#include "tree.h"
#include "unwind.h"

static inline uintptr_t word_at(uintptr_t address) { return *(const volatile uintptr_t *)address; }

struct machine_state own_caller(uintptr_t hook_frame) {
    return (struct machine_state){.pc = word_at(hook_frame + 8), .sp = hook_frame + 16, .fp = word_at(hook_frame)};
}

static inline bool holds(struct cfi_bounds bounds, uintptr_t address) { return address >= bounds.low && address <= bounds.high - 8; }

/*
 * Steps from a frame to its caller's state by the frame's rule. RULE_NONE: the stack is cut here, as the rule leads nowhere. RULE_END: this
 * was the outermost frame. RULE_INTERPRET: not by this function. Else the rule's kind.
 */
static inline __attribute__((always_inline)) enum rule_kind step(struct memo_frame *frame, struct machine_state *caller, bool *exact, struct cfi_bounds *bounds) {
    const uintptr_t sp = frame->state.sp, fp = frame->state.fp;
    struct rule *rule = &frame->rule;
    uintptr_t cfa;
    *exact = false;
    if (likely(rule->kind == RULE_RSP)) {
        cfa = sp + (uintptr_t)(intptr_t)rule->cfa_offset;
    } else if (rule->kind == RULE_RBP) {
        cfa = fp + (uintptr_t)(intptr_t)rule->cfa_offset;
    } else if (rule->kind == RULE_REALIGNED) {
        uintptr_t slot = fp + (uintptr_t)(intptr_t)rule->cfa_offset;
        if (!holds(*bounds, slot) || !holds(*bounds, fp)) return rule->kind = RULE_NONE;
        cfa = word_at(slot);
        if (cfa <= fp || cfa - fp > INT32_MAX) return rule->kind = RULE_NONE;
        rule->saved_fp = (uint32_t)(cfa - fp); /* rbp points to the caller's */
    } else if (rule->kind == RULE_SIGNAL) {
        if (!holds(*bounds, sp) || !holds(*bounds, sp + SIGNAL_FRAME_RIP)) return rule->kind = RULE_NONE;
        *caller = (struct machine_state){word_at(sp + SIGNAL_FRAME_RIP), word_at(sp + SIGNAL_FRAME_RSP), word_at(sp + SIGNAL_FRAME_RBP)};
        *exact = true;
        if (!holds(*bounds, caller->sp)) *bounds = bounds_of_stack(caller->sp); /* the handler had a stack of its own */
        return RULE_SIGNAL;
    } else if (rule->kind == RULE_GUESS) {
        /* Code without tables, built with frame pointers as like as not: a JIT compiler's, Swift's leaf functions. A frame pointer of 0
         * marks the outermost frame (System V ABI, AMD64, 3.4.1), such as the loader's own first instructions. */
        if (fp == 0) return rule->kind = RULE_END;
        if (fp < sp || fp - sp > GUESS_MOST || fp % 8 != 0) return rule->kind = RULE_NONE;
        rule->saved_fp = 16;
        cfa = fp + 16;
    } else {
        return rule->kind;
    }
    /* The CFA lies above the stack pointer, aligned, and within the stack: else something is wrong with the rules or the stack. */
    if (unlikely(cfa <= sp || cfa % 8 != 0 || !holds(*bounds, cfa - 8))) return rule->kind = RULE_NONE;
    caller->pc = word_at(cfa - 8);
    caller->sp = cfa;
    caller->fp = fp;
    if (rule->saved_fp != 0) {
        uintptr_t slot = cfa - rule->saved_fp;
        if (unlikely(!holds(*bounds, slot))) return rule->kind = RULE_NONE;
        caller->fp = word_at(slot);
    }
    return rule->kind;
}

/* ---- The memo -------------------------------------------------------------------------------------- */

/* The memo for this stack memory: the one used last, nearly always. */
static struct memo *memo_for(struct own_space *own, uintptr_t sp) {
    struct memo *memo = &own->memos[own->recent];
    if (likely(sp - memo->bounds.low < memo->bounds.high - memo->bounds.low)) return memo;
    for (uint32_t i = 0; i < MEMOS; i++) {
        memo = &own->memos[i];
        if (sp - memo->bounds.low >= memo->bounds.high - memo->bounds.low) continue;
        own->recent = i;
        return memo;
    }
    own->recent = (own->recent + 1) % MEMOS;
    memo = &own->memos[own->recent];
    memo->count = 0;
    memo->leaf.stack = 0;
    memo->too_deep_sp = 0;
    memo->bounds = bounds_of_stack(sp);
    return memo;
}

/*
 * Re-reads the words by which the `count` outermost frames were found, from the inside outwards. Returns how many of them hold no more
 * from the first word on that differs: 0 where all hold.
 */
static inline uint32_t verify(const struct memo *memo, uint32_t count) {
    const struct memo_check *check = &memo->checks[memo->checks_until[count - 1]], *end = memo->checks;
    while (likely(check > end) && likely(word_at(check[-1].address) == check[-1].value)) check--;
    if (likely(check == end)) return 0;
    uint32_t failed = (uint32_t)(check - end) - 1;
    while (count > 1 && memo->checks_until[count - 2] > failed) count--;
    return count;
}

/*
 * What was read to step from a frame to its caller's state, in the reverse order of reading. The caller's saved frame pointer is left out
 * where nobody out there looks at it: it may change. Returns the number of checks, at most 3.
 */
static inline uint32_t checks_of(const struct memo_frame *frame, const struct memo_frame *caller, struct memo_check *checks) {
    uint32_t count = 0;
    if (unlikely(frame->rule.kind == RULE_SIGNAL)) {
        uintptr_t sp = frame->state.sp;
        checks[0] = (struct memo_check){sp + SIGNAL_FRAME_RBP, caller->state.fp};
        checks[1] = (struct memo_check){sp + SIGNAL_FRAME_RSP, caller->state.sp};
        checks[2] = (struct memo_check){sp + SIGNAL_FRAME_RIP, caller->state.pc};
        return 3;
    }
    if (frame->rule.saved_fp != 0 && caller->fp_matters) checks[count++] = (struct memo_check){caller->state.sp - frame->rule.saved_fp, caller->state.fp};
    checks[count++] = (struct memo_check){caller->state.sp - 8, caller->state.pc};
    if (unlikely(frame->rule.kind == RULE_REALIGNED)) checks[count++] = (struct memo_check){frame->state.fp + (uintptr_t)(intptr_t)frame->rule.cfa_offset, caller->state.sp};
    return count;
}

/* Whether the frames from this one outwards depend on its frame pointer: it is used here (RULE_END may have been a guess), or handed on. */
static inline bool fp_matters(const struct memo_frame *frame, bool outer_fp_matters) {
    if (likely(frame->rule.kind == RULE_RSP)) return frame->rule.saved_fp == 0 && outer_fp_matters;
    return frame->rule.kind != RULE_SIGNAL;
}

static inline bool is_same(const struct memo_frame *remembered, const struct machine_state *state, bool exact) {
    return remembered->state.sp == state->sp && remembered->state.pc == state->pc && remembered->exact == exact
        && (remembered->state.fp == state->fp || !remembered->fp_matters);
}

/* Looks a pc up that the thread's cache doesn't have. An interrupted pc counts as the return address of the byte before: key + 1, as any other. */
static __attribute__((noinline)) const struct pc_entry *fill(struct pc_entry *entry, uintptr_t key, struct frame_cache *cache, struct cfi_space *cfi) {
    struct rule rule = rule_for(key, cfi);
    uint64_t id = frame_of(key + 1, cache);
    entry->key = 0;
    fence_compiler(); /* a longjmp out of a handler must not leave one pc's key with another's rule */
    entry->id = id;
    entry->rule = rule;
    fence_compiler();
    /* A guess at code that no module holds is not kept: a JIT compiler may put other code there. */
    entry->key = rule.kind == RULE_GUESS && heap_frame_module(id) == HEAP_MODULE_NONE ? 0 : key;
    return entry;
}

static inline __attribute__((always_inline)) void identify(struct memo_frame *frame, struct own_space *own, struct frame_cache *cache, struct cfi_space *cfi) {
    uintptr_t key = frame->state.pc - !frame->exact;
    struct pc_entry *slot = &own->pcs.entries[(key ^ key >> 11) % PC_CACHE_ENTRIES];
    const struct pc_entry *entry = likely(slot->key == key) ? slot : fill(slot, key, cache, cfi);
    frame->id = entry->id;
    frame->rule = entry->rule;
}

static inline uint64_t outer_hash(const struct memo *memo, uint32_t count) {
    return memo->base + count > 0 ? memo->hashes[memo->base + count - 1] : tree_root_hash();
}

/* Begins a memory anew: what stands before its frames. */
static void begin(struct memo *memo, bool cut) {
    memo->base = 0;
    memo->count = 0;
    uint64_t roots[2];
    if (options.threads) roots[memo->base++] = thread_root();
    if (cut) roots[memo->base++] = heap_frame_make(HEAP_MODULE_CUT, 0);
    for (uint32_t i = 0; i < memo->base; i++) {
        memo->frames[i] = roots[i];
        memo->hashes[i] = tree_hash(i > 0 ? memo->hashes[i - 1] : tree_root_hash(), roots[i]);
    }
}

/* Takes fresh frames into the memory, behind the `kept` outermost ones. False where its room ends. */
static inline bool adopt(struct memo *memo, uint32_t kept, const struct memo_frame *fresh, uint32_t count) {
    if (kept == 0) begin(memo, fresh[count - 1].rule.kind != RULE_END);
    uint32_t at = kept, until = kept > 0 ? memo->checks_until[kept - 1] : 0;
    if (until + 3 * count > MEMO_CHECKS) return false;
    uint64_t hash = outer_hash(memo, kept);
    bool outer_fp_matters = at > 0 && memo->memory[at - 1].fp_matters;
    for (uint32_t i = count; i-- > 0; at++) {
        struct memo_frame *frame = &memo->memory[at];
        *frame = fresh[i];
        frame->fp_matters = outer_fp_matters = fp_matters(frame, outer_fp_matters);
        memo->frames[memo->base + at] = frame->id;
        memo->hashes[memo->base + at] = hash = tree_hash(hash, frame->id);
        if (likely(at > 0)) until += checks_of(frame, frame - 1, &memo->checks[until]); /* out of the outermost nothing was read that counts */
        memo->checks_until[at] = until;
    }
    memo->count = at;
    return true;
}

/* Whether the leaf is this very state again, and all that was read on the way out still says the same. */
static inline bool stands(const struct memo *memo, const struct machine_state *state) {
    if (memo->leaf.stack == 0 || !is_same(&memo->leaf.frame, state, false)) return false;
    for (uint32_t i = memo->leaf.check_count; i-- > 0;)
        if (word_at(memo->leaf.checks[i].address) != memo->leaf.checks[i].value) return false;
    return memo->leaf.outer == 0 || verify(memo, memo->leaf.outer) == 0;
}

static struct memo *give_up(struct memo *memo, uintptr_t innermost) {
    memo->too_deep_sp = innermost;
    memo->count = 0;
    memo->leaf.stack = 0;
    return NULL;
}

struct memo *own_unwind(struct own_space *own, struct machine_state state, struct frame_cache *cache, struct cfi_space *cfi) {
    struct memo *memo = memo_for(own, state.sp);
    uint32_t generation = modules_generation();
    if (unlikely(own->pcs.generation != generation)) {
        memset(&own->pcs, 0, sizeof own->pcs);
        own->pcs.generation = generation;
    }
    if (unlikely(memo->generation != generation)) {
        memo->generation = generation;
        memo->count = 0;
        memo->leaf.stack = 0;
    }
    if (stands(memo, &state)) return memo;
    if (unlikely(memo->too_deep_sp != 0)) {
        if (state.sp <= memo->too_deep_sp) return NULL; /* as deep as what did not fit, or deeper */
        memo->too_deep_sp = 0;
    }
    struct cfi_bounds bounds = memo->bounds;
    struct memo_frame *leaf = &memo->leaf.frame;
    uintptr_t innermost = state.sp;
    bool exact;
    memo->leaf.stack = 0;
    leaf->state = state;
    leaf->exact = false;
    identify(leaf, own, cache, cfi);
    enum rule_kind kind = step(leaf, &state, &exact, &bounds);
    uint32_t fresh = 0, known = 0; /* frames [0, known) may still be met */
    if (unlikely(kind == RULE_INTERPRET)) return NULL;
    if (unlikely(kind == RULE_NONE || kind == RULE_END)) {
        begin(memo, kind == RULE_NONE);
    } else {
        /* Neighbouring stacks are of nearly the same depth: the look begins where the last one ended. */
        known = memo->leaf.outer < memo->count ? memo->leaf.outer : memo->count;
        while (known < memo->count && memo->memory[known].state.sp >= state.sp) known++;
        for (;;) {
            while (known > 0 && memo->memory[known - 1].state.sp < state.sp) known--;
            if (known > 0 && is_same(&memo->memory[known - 1], &state, exact)) {
                uint32_t failed = verify(memo, known);
                if (likely(failed == 0)) break;
                known = failed - 1; /* the frame there holds, and leads elsewhere: none from it inwards will do */
            }
            if (unlikely(fresh == MEMO_FRAMES)) return give_up(memo, innermost);
            struct memo_frame *frame = &own->fresh[fresh++];
            frame->state = state;
            frame->exact = exact;
            identify(frame, own, cache, cfi);
            kind = step(frame, &state, &exact, &bounds);
            if (likely(kind == RULE_RSP || kind == RULE_RBP)) continue;
            if (likely(kind != RULE_NONE && kind != RULE_END && kind != RULE_INTERPRET)) continue;
            if (kind == RULE_INTERPRET) return NULL;
            known = 0;
            break;
        }
        if (fresh > 0) {
            if (known + fresh > MEMO_FRAMES || !adopt(memo, known, own->fresh, fresh)) return give_up(memo, innermost);
            known += fresh;
        }
    }
    memo->leaf.outer = known;
    leaf->fp_matters = fp_matters(leaf, known > 0 && memo->memory[known - 1].fp_matters);
    memo->leaf.check_count = known > 0 ? checks_of(leaf, &memo->memory[known - 1], memo->leaf.checks) : 0;
    memo->leaf.hash = tree_hash(outer_hash(memo, known), leaf->id);
    return memo;
}

/* ---- Without a memo ---------------------------------------------------------------------------------- */

bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_bounds bounds = bounds_of_stack(state.sp);
    bool exact = false;
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        struct memo_frame frame = {.state = state, .rule = rule_for(state.pc - !exact, cfi)};
        pcs->values[pcs->count++] = (void *)(state.pc + exact);
        enum rule_kind kind = step(&frame, &state, &exact, &bounds);
        if (kind == RULE_INTERPRET) return false;
        pcs->complete = kind == RULE_END;
        if (kind == RULE_NONE || kind == RULE_END) break;
    }
    return true;
}

/* The registers that calls preserve, as they stand here: for the interpreter, which starts from this very place. */
#define CAPTURE(registers) \
    __asm__ volatile( \
        "movq %%rbx, 24(%0)\n\tmovq %%rbp, 48(%0)\n\tmovq %%rsp, 56(%0)\n\t" \
        "movq %%r12, 96(%0)\n\tmovq %%r13, 104(%0)\n\tmovq %%r14, 112(%0)\n\tmovq %%r15, 120(%0)\n\t" \
        "leaq 0f(%%rip), %%rax\n0:\n\tmovq %%rax, 128(%0)" \
        : : "r"((registers)->values) : "rax", "memory")

__attribute__((noinline)) void own_interpret(struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_registers registers = {0};
    CAPTURE(&registers);
    struct cfi_bounds bounds = bounds_of_stack(registers.values[7]);
    bool exact = true; /* the captured pc is an instruction, not a return address */
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        uintptr_t pc = registers.values[16], sp = registers.values[7];
        pcs->values[pcs->count++] = (void *)(pc + exact);
        if (!cfi_find_row(pc - !exact, cfi)) {
            struct memo_frame frame = {.state = {pc, sp, registers.values[6]}, .rule = {.kind = RULE_GUESS}};
            struct machine_state caller = {0};
            enum rule_kind kind = step(&frame, &caller, &exact, &bounds);
            pcs->complete = kind == RULE_END;
            if (kind != RULE_GUESS) break;
            registers.values[16] = caller.pc;
            registers.values[7] = caller.sp;
            registers.values[6] = caller.fp;
            continue;
        }
        if (cfi->row.registers[cfi->row.return_register].kind == CFI_UNDEFINED) {
            pcs->complete = true;
            break;
        }
        if (!cfi_step(&cfi->row, &registers, bounds)) break;
        exact = cfi->row.is_signal_frame;
        if (exact && !holds(bounds, registers.values[7])) bounds = bounds_of_stack(registers.values[7]);
        else if (registers.values[7] <= sp) break;
    }
}

void own_follow_frame_pointers(struct machine_state state, struct pcs *pcs) {
    struct cfi_bounds bounds = bounds_of_stack(state.sp);
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        pcs->values[pcs->count++] = (void *)state.pc;
        if (state.fp == 0) { /* as the ABI wants it at the outermost frame */
            pcs->complete = true;
            break;
        }
        if (state.fp % 8 != 0 || state.fp < state.sp || !holds(bounds, state.fp) || !holds(bounds, state.fp + 8)) break;
        state = own_caller(state.fp);
        if (state.pc == 0) {
            pcs->complete = true;
            break;
        }
    }
}

bool own_skip_operators(struct machine_state *state, struct cfi_space *cfi) {
    struct cfi_bounds bounds = {state->sp, state->sp + HEAP_PAGE_BYTES}; /* the hooks that we look for are a few frames out, and in use */
    struct machine_state at = *state;
    bool met_hook = false;
    /* The runtime's operator, one or two hooks of ours (operator new[] jumps to operator new), and that is all. */
    for (int steps = 0; steps < 6; steps++) {
        bool own = unwind_is_own(at.pc);
        if (own) met_hook = true;
        else if (met_hook || !unwind_is_runtime(at.pc)) break;
        struct memo_frame frame = {.state = at, .rule = rule_for(at.pc - 1, cfi)};
        bool exact;
        enum rule_kind kind = step(&frame, &at, &exact, &bounds);
        if (kind != RULE_RSP && kind != RULE_RBP) return false;
    }
    if (met_hook) *state = at;
    return met_hook;
}

#endif
