/*
 * The verified memo: keeps a thread's last stack, and finds how much of it the next stack shares. memo.c says why it is
 * sound.
 */
#ifndef HEAPSUM_MEMO_H
#define HEAPSUM_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stacks/step.h"
#include "stacks/tree.h"
#include "threads/thread.h"

struct pcs;
struct scratch;

/* At most this many words are in a memo, nearly one for each frame. Deeper stacks are unwound without it. */
#define MEMO_WORDS 4096
#define MEMO_FRESH 2048
/* Words are verified in groups, because the processor then predicts the number of rounds well. Words that always hold
 * their value fill up the group before the outermost one. */
#define MEMO_GROUP 4

/* Each word of a stack's last 8 KB has its own entry. Words further out share entries. */
#define MEMO_HINTS 1024

/* A word of the stack that unwinding read, and its value. For nearly all frames it is the word that held their pc: on
 * x86-64 that below their stack pointer. */
struct memo_word {
    uintptr_t address, value;
};

enum memo_flags {
    MEMO_FP_MATTERS = 1, /* outer frames depend on this frame's frame pointer */
    MEMO_EXTRA = 2,      /* not a frame: another word that was read to step out of the next inner frame */
    MEMO_EXACT = 4,      /* a frame that a signal interrupted. No unwinding joins the memo here */
};

/* The frame at a word. */
struct memo_frame {
    uint64_t hash; /* of the frames from the outermost to this one */
    uint64_t id;   /* module and offset */
    uintptr_t fp;
#ifdef MACHINE_HAS_LINK_REGISTER
    uintptr_t sp; /* elsewhere the word's address tells */
#endif
    /* frames from the outermost to this one; plus MEMO_CUT if the outermost is not the thread's start */
    uint32_t depth;
    uint32_t flags;      /* enum memo_flags */
    uintptr_t leaf_pc;   /* pc of the last leaf that was called from here, at its call of the hook; 0: none yet … */
    uint32_t leaf_stack; /* … and that stack's number */
    uint32_t node;       /* of this frame in the tree; 0: not known, or the root for FRAME(-1) */
};
#define MEMO_CUT (1u << 30)

/* The last stacks of one thread on one stack memory. */
struct memo {
    struct cfi_bounds bounds;
    uint32_t count;    /* words, outermost first */
    uint32_t outer;    /* how many of them belong to the last stack's callers (all but its leaf) */
    uintptr_t leaf_pc; /* of that stack */
    uintptr_t deep_sp; /* a stack with its innermost frame here had more frames than fit; 0: none … */
    /* … `bounds.low` is raised so that equally deep stacks are not tried again; this is its true value … */
    uintptr_t deep_low;
    uint32_t deep_skips; /* … and this counts the stacks not tried: one in MEMO_DEEP_TRIES is */
    uint32_t tag;        /* the thread's, of the last stack. The entries are rooted in it */
    uintptr_t zero;      /* always 0: the word that always holds its value */
    /* the frames outside the outermost one: the tag, the thread's own root, and the cut if the unwinding gave up */
    uint64_t roots[3];
    uint32_t root_count;
    uint16_t hints[MEMO_HINTS]; /* likely entry for a stack pointer; verified before use */
    struct memo_word words[MEMO_GROUP + MEMO_WORDS];
    struct memo_frame frames[1 + MEMO_WORDS]; /* [1 + i] is of words[MEMO_GROUP + i]; [0] is of the roots */
};

/* A new frame of the current unwinding. */
struct memo_fresh {
    struct machine_state state;
    uint64_t rule;
    uint64_t id;
    bool exact;
};

/* A pc's rule and frame, in a direct-mapped table. The key is the instruction, one byte back from a return address. */
#define PC_ENTRIES_LOG2 11
struct pc_entry {
    uint64_t word; /* the rule in the low bits; above it the key's bits that the entry's index does not give */
    uint64_t id;
};

/* Of this many stacks that are as deep as one that didn't fit, one is tried, because the deep frames may be gone. */
#define MEMO_DEEP_TRIES 64

/*
 * Where an allocation from a leaf joined the memo. The next allocation with the same pc and stack pointer joins it at
 * the same word, because the leaf's rule depends on these two only.
 */
#define MEMO_LEAVES 512
struct memo_leaf {
    uintptr_t pc; /* 0: none */
    uintptr_t sp;
    uintptr_t address; /* of the word that holds the leaf's return address */
    uint32_t at;       /* that word's entry */
    uint32_t generation;
};

/* More than one, for threads that run on several stacks: coroutines, signal handlers on their own stack. */
#define MEMOS 2

/* One thread's memos and caches of stacks. */
struct memory {
    uint32_t generation; /* of the modules, when `pcs` were filled */
    struct memo *memo;   /* the one used last; NULL at first */
    struct memo_leaf leaves[MEMO_LEAVES];
    struct memo memos[MEMOS];
    struct pc_entry pcs[1u << PC_ENTRIES_LOG2];
    struct recent_stack recent[RECENT_STACKS];
    struct memo_fresh fresh[MEMO_FRESH]; /* innermost first */
};

/* The word and frame of entry i. MEMO_FRAME(memo, -1) stands for the roots. */
#define MEMO_WORD(memo, i) (&(memo)->words[MEMO_GROUP + (i)])
#define MEMO_FRAME(memo, i) (&(memo)->frames[1 + (i)])

/* Whether the words of the `count` outermost entries still hold their values. They are read from the inside outwards,
 * up to the first that differs. */
static inline __attribute__((always_inline)) bool memo_holds(const struct memo *memo, uint32_t count) {
    for (const struct memo_word *word = MEMO_WORD(memo, count), *end = memo->words + MEMO_GROUP; word > end;
         word -= MEMO_GROUP) {
#define HOLDS(i) likely(word_at(word[-(i)].address) == word[-(i)].value)
        if (!(HOLDS(1) && HOLDS(2) && HOLDS(3) && HOLDS(4))) return false;
#undef HOLDS
    }
    return true;
}

static inline struct memo_leaf *memo_leaf(struct memory *memory, uintptr_t pc, uintptr_t sp) {
    return &memory->leaves[(pc ^ pc >> 9 ^ sp >> 4) % MEMO_LEAVES];
}

/*
 * Does the same as memo_stack in the most common case: the last allocation with this pc had this stack pointer, and no
 * outer frame has changed since. Returns 0 in other cases: then memo_stack must be asked. It is exact: the rule of such
 * a leaf depends only on the stack pointer, so the word with its return address is the same as then; that word still
 * holds its value; and no outer frame depends on a frame pointer. So the caller's frame is the remembered one, in the
 * same state.
 */
static inline __attribute__((always_inline)) uint32_t memo_usual(struct memory *memory, uintptr_t pc, uintptr_t sp) {
    const struct memo_leaf *leaf = memo_leaf(memory, pc, sp);
    struct memo *memo = memory->memo;
    uint32_t at = leaf->at;
    if (unlikely(leaf->pc != pc) || unlikely(leaf->sp != sp) || unlikely(at >= memo->count)) return 0;
    const struct memo_frame *frame = MEMO_FRAME(memo, at);
    if (unlikely(MEMO_WORD(memo, at)->address != leaf->address) || unlikely(frame->leaf_pc != pc)
        || unlikely(memo->tag != local.tag) || unlikely(frame->flags != 0)
        || unlikely(leaf->generation != loader_generation()) || unlikely(!memo_holds(memo, at + 1)))
        return 0;
    memo->outer = at + 1;
    memo->leaf_pc = pc;
    return frame->leaf_stack;
}

/*
 * The number of the stack whose innermost frame has these registers. 0 if the memo can't answer: a frame needs the
 * interpreter, or there are too many frames. Complexity: a step for each new frame, one read for each other frame.
 */
uint32_t memo_stack(struct scratch *scratch, uintptr_t pc, uintptr_t sp, uintptr_t fp);

/* The first half of it: finds the frames, which are the memo's `outer` outermost entries, and the leaf's frame `*leaf`.
 * False if the memo can't answer. */
bool memo_walk(struct scratch *scratch, uintptr_t pc, uintptr_t sp, uintptr_t fp, uint64_t *leaf);

/* Forgets the stacks: the next unwinding starts from scratch. */
void memory_forget(struct memory *memory);

/* The return addresses of the stack that memo_stack found last. */
void memo_pcs(const struct memory *memory, struct pcs *pcs);

#endif
