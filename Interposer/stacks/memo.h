/*
 * The verified memo: a thread's last stack, and how much of it is the next one. Why it is sound stands in memo.c.
 */
#ifndef HEAPSUM_MEMO_H
#define HEAPSUM_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stacks/step.h"
#include "stacks/tree.h"

struct pcs;
struct scratch;

/* The most words in a memo: nearly one a frame. Deeper stacks are unwound without it. */
#define MEMO_WORDS 4096
#define MEMO_FRESH 2048
/* Words are verified in groups, because the processor predicts the number of rounds well then. Words that always hold
 * stand in front of the outermost one. */
#define MEMO_GROUP 4

/* Each word of a stack's last 8 KB has an entry of its own; words further out share them. */
#define MEMO_HINTS 1024

/* A word of the stack that was read on the way out, and its value: for nearly all frames the word below their stack
 * pointer, which held their pc. */
struct memo_word {
    uintptr_t address, value;
};

enum memo_flags {
    MEMO_FP_MATTERS = 1, /* the frames outwards depend on this frame's frame pointer */
    MEMO_EXTRA = 2,      /* no frame of its own: another word that was read to step out of the frame inwards of it */
    MEMO_EXACT = 4,      /* a frame that a signal interrupted. No unwinding joins the memo here */
};

/* What the frame at a word came to. */
struct memo_frame {
    uint64_t hash; /* of the frames from the outermost to this one */
    uint64_t id;   /* module and offset */
    uintptr_t fp;
    /* frames from the outermost to this one, and MEMO_CUT more where that one isn't the thread's start */
    uint32_t depth;
    uint32_t flags;      /* enum memo_flags */
    uintptr_t leaf_pc;   /* of the last leaf that was called from here, as it called the hook; 0: none yet … */
    uint32_t leaf_stack; /* … and that stack's number */
    uint32_t node;       /* of this frame in the tree; 0: not known, or for FRAME(-1) the root itself */
};
#define MEMO_CUT (1u << 30)

/* The last stacks of one thread on one stack memory. */
struct memo {
    struct cfi_bounds bounds;
    uint32_t count;    /* words, outermost first */
    uint32_t outer;    /* of them, those outwards of the last stack's leaf */
    uintptr_t leaf_pc; /* of that stack */
    uintptr_t deep_sp; /* a stack whose innermost frame was here had more frames than fit; else 0 … */
    /* … and the bounds really begin here: they are drawn in, so that a stack as deep is not tried again … */
    uintptr_t deep_low;
    uint32_t deep_skips; /* … but now and then */
    uintptr_t zero;      /* always: the word that always holds */
    /* what stands before the frames: the thread's own root, and the cut where the unwinding gave up */
    uint64_t roots[2];
    uint32_t root_count;
    uint16_t hints[MEMO_HINTS]; /* likely entry for a stack pointer; verified before use */
    struct memo_word words[MEMO_GROUP + MEMO_WORDS];
    struct memo_frame frames[1 + MEMO_WORDS]; /* [1 + i] is of words[MEMO_GROUP + i]; [0] is of the roots */
};

/* A frame of an unwinding under way. */
struct memo_fresh {
    struct machine_state state;
    uint64_t rule;
    uint64_t id;
    bool exact;
};

/* A pc's rule and frame, in a direct-mapped table. The key is the instruction, one byte back from a return address. */
#define PC_ENTRIES_LOG2 11
struct pc_entry {
    uint64_t word; /* the rule, below the bits of the key that the entry's place doesn't say */
    uint64_t id;
};

/* Of this many stacks that are as deep as one that didn't fit, one is tried: the deep frames may be gone. */
#define MEMO_DEEP_TRIES 64

/*
 * Where an allocation from a leaf joined the memo, for the next one from the same place with the same stack pointer:
 * the leaf's rule leads from these two to the same word again.
 */
#define MEMO_LEAVES 512
struct memo_leaf {
    uintptr_t pc; /* 0: none */
    uintptr_t sp;
    uintptr_t address; /* of the word that the leaf returns by */
    uint32_t at;       /* that word's entry */
    uint32_t generation;
};

/* Several, for threads that run on several stacks: coroutines, signal handlers on a stack of their own. */
#define MEMOS 2

/* One thread's memory of stacks. */
struct memory {
    uint32_t generation; /* of the modules, when `pcs` were filled */
    struct memo *memo;   /* the one used last; NULL at first */
    struct memo_leaf leaves[MEMO_LEAVES];
    struct memo memos[MEMOS];
    struct pc_entry pcs[1u << PC_ENTRIES_LOG2];
    struct recent_stack recent[RECENT_STACKS];
    struct memo_fresh fresh[MEMO_FRESH]; /* innermost first */
};

/* Entry i's word and frame; MEMO_FRAME(memo, -1) is the roots'. */
#define MEMO_WORD(memo, i) (&(memo)->words[MEMO_GROUP + (i)])
#define MEMO_FRAME(memo, i) (&(memo)->frames[1 + (i)])

/* Whether the words of the `count` outermost entries still say what they said, read from the inside outwards up to the
 * first that doesn't. */
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
 * The same as memo_stack in the most usual case: the last allocation from this very place had this stack pointer, and
 * nothing outwards changed since. 0: memo_stack is to be asked. The rule of such a leaf depends on the stack pointer
 * alone, so the word that it returns by is where it was; the word holds its value, and no frame pointer matters
 * outwards: so this is the remembered frame in its state.
 */
static inline __attribute__((always_inline)) uint32_t memo_usual(struct memory *memory, uintptr_t pc, uintptr_t sp) {
    const struct memo_leaf *leaf = memo_leaf(memory, pc, sp);
    struct memo *memo = memory->memo;
    uint32_t at = leaf->at;
    if (unlikely(leaf->pc != pc) || unlikely(leaf->sp != sp) || unlikely(at >= memo->count)) return 0;
    const struct memo_frame *frame = MEMO_FRAME(memo, at);
    if (unlikely(MEMO_WORD(memo, at)->address != leaf->address) || unlikely(frame->leaf_pc != pc)
        || unlikely(frame->flags != 0) || unlikely(leaf->generation != loader_generation())
        || unlikely(!memo_holds(memo, at + 1)))
        return 0;
    memo->outer = at + 1;
    memo->leaf_pc = pc;
    return frame->leaf_stack;
}

/*
 * The number of the stack whose innermost frame has these registers; 0 where the memo can't serve: a frame needs the
 * interpreter, or there are too many. Complexity: the frames that are new, and one read for each other.
 */
uint32_t memo_stack(struct scratch *scratch, uintptr_t pc, uintptr_t sp, uintptr_t fp);

/* Forgets the stacks: the next unwinding begins anew. */
void memory_forget(struct memory *memory);

/* The return addresses of the stack that memo_stack found last. */
void memo_pcs(const struct memory *memory, struct pcs *pcs);

#endif
