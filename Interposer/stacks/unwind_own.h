/*
 * Our own unwinder: what unwind.c calls of it.
 */
#ifndef HEAPSUM_UNWIND_OWN_H
#define HEAPSUM_UNWIND_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bounds.h"
#include "modules.h"
#include "rules.h"

/* A thread's registers at one of its frames, as far as unwinding needs them. */
struct machine_state {
    uintptr_t pc; /* where the frame goes on: a return address, or, where a signal interrupted it, the instruction itself */
    uintptr_t sp;
    uintptr_t fp;
};

/* Frames that the memo holds at the most; deeper stacks are unwound without it. */
#define MEMO_FRAMES 2048
#define MEMO_CHECKS (2 * MEMO_FRAMES)

/* One frame of the memo. */
struct memo_frame {
    struct machine_state state;
    struct rule rule; /* by which its caller is found */
    bool exact;       /* pc was interrupted: its rule is its own, not that of the byte before it */
    bool fp_matters;  /* the frames outwards depend on state.fp */
    uint64_t id;      /* module and offset */
};

struct memo_check { /* a word that was read on the way out, and what it said */
    uintptr_t address, value;
};

/*
 * The last stacks of one thread (on one stack memory). The frames that called others stand in `memory`, outermost first: what was read of
 * them, and what they came to. The innermost frame, the one that called the hook, stands by itself in `leaf`, as it goes on elsewhere
 * than when it calls. So frames deeper than the leaf stay for when the program goes down the same way again.
 *
 * Before the frames of the memory stand `base` others: the thread's own root, and the cut where the unwinding gave up.
 */
struct memo {
    struct cfi_bounds bounds;
    uint32_t generation; /* of the modules, when it was unwound */
    uint32_t base;
    uint32_t count;
    uintptr_t too_deep_sp; /* a stack whose innermost frame was here had more frames than fit; else 0 */
    struct {
        struct memo_frame frame;
        struct memo_check checks[3];
        uint32_t check_count;
        uint32_t outer; /* frames of the memory that are in its stack */
        uint32_t stack; /* its stack's number; 0: not asked for yet */
        uint64_t hash;
    } leaf;
    struct memo_frame memory[MEMO_FRAMES];
    uint32_t checks_until[MEMO_FRAMES]; /* the checks of frame i end here, and begin where those of the frame outwards of it end */
    struct memo_check checks[MEMO_CHECKS];
    uint64_t frames[MEMO_FRAMES + 2]; /* [base + i] is memory[i]'s */
    uint64_t hashes[MEMO_FRAMES + 2];
};

/* The kind of the outermost frame: RULE_END, or the stack is cut. */
static inline enum rule_kind memo_outermost(const struct memo *memo) { return memo->leaf.outer > 0 ? memo->memory[0].rule.kind : memo->leaf.frame.rule.kind; }

/* What is known of a pc, in one place: a thread's own, direct-mapped. The key is the instruction, one byte back from a return address. */
#define PC_CACHE_ENTRIES 2048
struct pc_cache {
    uint32_t generation; /* of the modules, when it was filled */
    struct pc_entry {
        uintptr_t key;
        uint64_t id;
        struct rule rule;
    } entries[PC_CACHE_ENTRIES];
};

/* Several, for threads that run on several stacks: coroutines, signal handlers on a stack of their own. */
#define MEMOS 2

/* One thread's space for unwinding at level 0. */
struct own_space {
    struct memo memos[MEMOS];
    uint32_t recent; /* the memo used last */
    struct pc_cache pcs;
    struct memo_frame fresh[MEMO_FRAMES]; /* the frames of an unwinding under way, innermost first */
};

/* The return addresses of a stack, innermost first. */
struct pcs {
    void **values;
    size_t count, most;
    bool complete; /* out to the thread's start */
};

/* Where the hook's caller goes on, from the hook's frame (which keeps a frame pointer: __builtin_frame_address asked for it). */
struct machine_state own_caller(uintptr_t hook_frame);

/*
 * The memo of this thread, brought up to date with the stack that `state` is the innermost frame of; NULL where the memo can't
 * serve: a frame needs the interpreter, or there are too many. Complexity: the frames that are new, and one read for each other.
 */
struct memo *own_unwind(struct own_space *own, struct machine_state state, struct frame_cache *cache, struct cfi_space *cfi);

/* The same without a memo, for signal handlers inside of hooks: by the rule cache alone. False where a frame needs the interpreter. */
bool own_walk(struct machine_state state, struct pcs *pcs, struct cfi_space *cfi);

/* By the full interpreter, from this very function outwards: its own frames and the hook's are among the pcs. For the rest. */
void own_interpret(struct pcs *pcs, struct cfi_space *cfi);

/* By the chain of frame pointers, for code that was built with them. */
void own_follow_frame_pointers(struct machine_state state, struct pcs *pcs);

/* Steps over a C++ runtime's operator new that our own operator called: true, and *state moved, where it lies so. */
bool own_skip_operators(struct machine_state *state, struct cfi_space *cfi);

#endif
