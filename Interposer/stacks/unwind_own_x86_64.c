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
 * Steps from the frame in `frame->state` to its caller's state, and notes what was read. RULE_NONE: the stack is cut here, for
 * want of rules or because they lead nowhere. RULE_END: this was the outermost frame. RULE_INTERPRET: not by this function.
 */
static inline __attribute__((always_inline)) enum rule_kind step(struct memo_frame *frame, struct machine_state *caller, bool *exact, struct cfi_bounds *bounds, struct cfi_space *cfi) {
    const struct machine_state state = frame->state;
    struct rule rule = rule_for(state.pc - !frame->exact, cfi);
    uintptr_t cfa;
    frame->fp_slot = frame->cfa_slot = 0;
    frame->restores_fp = false;
    *exact = false;
    if (likely(rule.kind == RULE_RSP)) {
        cfa = state.sp + (uintptr_t)(intptr_t)rule.cfa_offset;
    } else if (rule.kind == RULE_RBP) {
        cfa = state.fp + (uintptr_t)(intptr_t)rule.cfa_offset;
    } else if (rule.kind == RULE_REALIGNED) {
        frame->cfa_slot = state.fp + (uintptr_t)(intptr_t)rule.cfa_offset;
        if (!holds(*bounds, frame->cfa_slot) || !holds(*bounds, state.fp)) return frame->kind = RULE_NONE;
        cfa = word_at(frame->cfa_slot);
        rule.saved_fp = (uint32_t)(cfa - state.fp); /* rbp points to the caller's */
        if (cfa <= state.fp || cfa - state.fp > UINT32_MAX / 2) return frame->kind = RULE_NONE;
    } else if (rule.kind == RULE_SIGNAL) {
        if (!holds(*bounds, state.sp) || !holds(*bounds, state.sp + SIGNAL_FRAME_RIP)) return frame->kind = RULE_NONE;
        *caller = (struct machine_state){word_at(state.sp + SIGNAL_FRAME_RIP), word_at(state.sp + SIGNAL_FRAME_RSP), word_at(state.sp + SIGNAL_FRAME_RBP)};
        *exact = true;
        frame->restores_fp = true;
        if (!holds(*bounds, caller->sp)) *bounds = bounds_of_stack(caller->sp); /* the handler had a stack of its own */
        return frame->kind = RULE_SIGNAL;
    } else if (rule.kind == RULE_GUESS) {
        /* Code without tables, built with frame pointers as like as not: a JIT compiler's, Swift's leaf functions. A frame pointer of 0
         * marks the outermost frame (System V ABI, AMD64, 3.4.1), such as the loader's own first instructions. */
        if (state.fp == 0) return frame->kind = RULE_END;
        if (state.fp < state.sp || state.fp - state.sp > GUESS_MOST || state.fp % 8 != 0) return frame->kind = RULE_NONE;
        rule.saved_fp = 16;
        cfa = state.fp + 16;
    } else {
        return frame->kind = (uint8_t)rule.kind;
    }
    /* The CFA lies above the stack pointer, aligned, and within the stack: else something is wrong with the rules or the stack. */
    if (unlikely(cfa <= state.sp || cfa % 8 != 0 || !holds(*bounds, cfa - 8))) return frame->kind = RULE_NONE;
    caller->pc = word_at(cfa - 8);
    caller->sp = cfa;
    caller->fp = state.fp;
    if (rule.saved_fp != 0) {
        uintptr_t slot = cfa - rule.saved_fp;
        if (unlikely(!holds(*bounds, slot))) return frame->kind = RULE_NONE;
        caller->fp = word_at(slot);
        frame->fp_slot = slot;
        frame->restores_fp = true;
    }
    return frame->kind = (uint8_t)rule.kind;
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

/* What was read to step from a frame to its caller's state, in the reverse order of reading. Returns the number of checks, at most 3. */
static inline uint32_t checks_of(const struct memo_frame *frame, const struct machine_state *caller, struct memo_check *checks) {
    uint32_t count = 0;
    if (unlikely(frame->kind == RULE_SIGNAL)) {
        uintptr_t sp = frame->state.sp;
        checks[0] = (struct memo_check){sp + SIGNAL_FRAME_RBP, caller->fp};
        checks[1] = (struct memo_check){sp + SIGNAL_FRAME_RSP, caller->sp};
        checks[2] = (struct memo_check){sp + SIGNAL_FRAME_RIP, caller->pc};
        return 3;
    }
    if (frame->fp_slot != 0) checks[count++] = (struct memo_check){frame->fp_slot, caller->fp};
    checks[count++] = (struct memo_check){caller->sp - 8, caller->pc};
    if (unlikely(frame->cfa_slot != 0)) checks[count++] = (struct memo_check){frame->cfa_slot, caller->sp};
    return count;
}

/* RULE_END may be a guess, too. */
static inline bool uses_fp(const struct memo_frame *frame) { return frame->kind != RULE_RSP && frame->kind != RULE_SIGNAL; }

/* Whether the frames from this one outwards depend on its frame pointer; and the slot that its caller's was read from is
 * forgotten where nobody out there looks at it: it may change. */
static inline void settle_fp(struct memo_frame *frame, bool outer_fp_matters) {
    frame->fp_matters = uses_fp(frame) || (!frame->restores_fp && outer_fp_matters);
    if (!outer_fp_matters) frame->fp_slot = 0;
}

static inline bool is_same(const struct memo_frame *remembered, const struct machine_state *state, bool exact) {
    return remembered->state.sp == state->sp && remembered->state.pc == state->pc && remembered->exact == exact
        && (remembered->state.fp == state->fp || !remembered->fp_matters);
}

/* An interrupted pc counts as the return address of the byte before. */
static inline uint64_t id_of(const struct memo_frame *frame, struct frame_cache *cache) { return frame_of(frame->state.pc + frame->exact, cache); }

static inline uint64_t outer_hash(const struct memo *memo, uint32_t count) {
    return memo->base + count > 0 ? memo->hashes[memo->base + count - 1] : tree_root_hash();
}

/* Begins a memory anew: what stands before its frames. */
static void begin(struct memo *memo, bool cut) {
    memo->base = 0;
    memo->count = 0;
    uint64_t roots[2];
    if (options.threads) roots[memo->base++] = heap_frame_make(HEAP_MODULE_THREAD, local.record != NULL ? local.record->tid : thread_id());
    if (cut) roots[memo->base++] = heap_frame_make(HEAP_MODULE_CUT, 0);
    for (uint32_t i = 0; i < memo->base; i++) {
        memo->frames[i] = roots[i];
        memo->hashes[i] = tree_hash(i > 0 ? memo->hashes[i - 1] : tree_root_hash(), roots[i]);
    }
}

/* Takes fresh frames into the memory, behind the `kept` outermost ones. False where its room ends. */
static bool adopt(struct memo *memo, uint32_t kept, const struct memo_frame *fresh, uint32_t count, struct frame_cache *cache) {
    if (kept == 0) begin(memo, fresh[count - 1].kind != RULE_END);
    uint32_t at = kept, until = kept > 0 ? memo->checks_until[kept - 1] : 0;
    uint64_t hash = outer_hash(memo, kept);
    for (uint32_t i = count; i-- > 0; at++) {
        struct memo_frame *frame = &memo->memory[at];
        *frame = fresh[i];
        settle_fp(frame, at > 0 && memo->memory[at - 1].fp_matters);
        uint64_t id = id_of(frame, cache);
        memo->frames[memo->base + at] = id;
        memo->hashes[memo->base + at] = hash = tree_hash(hash, id);
        if (until + 3 > MEMO_CHECKS) return false;
        if (at > 0) until += checks_of(frame, &memo->memory[at - 1].state, &memo->checks[until]); /* out of the outermost nothing was read that counts */
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
    enum rule_kind kind = step(leaf, &state, &exact, &bounds, cfi);
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
            kind = step(frame, &state, &exact, &bounds, cfi);
            if (likely(kind != RULE_NONE && kind != RULE_END && kind != RULE_INTERPRET)) continue;
            if (kind == RULE_INTERPRET) return NULL;
            known = 0;
            break;
        }
        if (fresh > 0) {
            if (known + fresh > MEMO_FRAMES || !adopt(memo, known, own->fresh, fresh, cache)) return give_up(memo, innermost);
            known += fresh;
        }
    }
    memo->leaf.outer = known;
    settle_fp(leaf, known > 0 && memo->memory[known - 1].fp_matters);
    memo->leaf.check_count = known > 0 ? checks_of(leaf, &memo->memory[known - 1].state, memo->leaf.checks) : 0;
    memo->leaf.id = id_of(leaf, cache);
    memo->leaf.hash = tree_hash(outer_hash(memo, known), memo->leaf.id);
    return memo;
}

/* ---- Without a memo ---------------------------------------------------------------------------------- */

bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi) {
    struct cfi_bounds bounds = bounds_of_stack(state.sp);
    bool exact = false;
    pcs->complete = false;
    for (pcs->count = 0; pcs->count < pcs->most;) {
        struct memo_frame frame = {.state = state, .exact = exact};
        pcs->values[pcs->count++] = (void *)(state.pc + exact);
        enum rule_kind kind = step(&frame, &state, &exact, &bounds, cfi);
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
            struct memo_frame frame = {.state = {pc, sp, registers.values[6]}, .exact = exact};
            struct machine_state caller = {0};
            enum rule_kind kind = step(&frame, &caller, &exact, &bounds, cfi);
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
        struct memo_frame frame = {.state = at};
        bool exact;
        enum rule_kind kind = step(&frame, &at, &exact, &bounds, cfi);
        if (kind != RULE_RSP && kind != RULE_RBP) return false;
    }
    if (met_hook) *state = at;
    return met_hook;
}

#endif
