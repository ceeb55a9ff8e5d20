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

/* Words that a memo holds at the most: one a frame, nearly. Deeper stacks are unwound without it. */
#define MEMO_WORDS 4096
#define MEMO_FRESH 2048
/* Words are verified in groups, so that the number of rounds is easily foretold: in front of the outermost stand words
 * that always hold. */
#define MEMO_GROUP 4

/* The last 8 KB of a stack have an entry for each word of theirs; what lies further out shares them. */
#define MEMO_HINTS 1024

/* A word of the stack that was read on the way out, and what it said: for nearly all frames the one below their stack
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
    /* … and this is where the bounds really begin: they are drawn in, so that the like of it isn't tried again … */
    uintptr_t deep_low;
    uint32_t deep_skips; /* … but now and then */
    uintptr_t zero;      /* always: the word that always holds */
    /* what stands before the frames: the thread's own root, and the cut where the unwinding gave up */
    uint64_t roots[2];
    uint32_t root_count;
    uint16_t hints[MEMO_HINTS]; /* by a stack pointer's low bits, the entry below it, as like as not */
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

/* What is known of a pc, in one place: direct-mapped. The key is the instruction, one byte back from a return address.
 */
#define PC_ENTRIES_LOG2 11
struct pc_entry {
    uint64_t word; /* the rule, below the bits of the key that the entry's place doesn't say */
    uint64_t id;
};

/* Of so many stacks that go as deep as one that didn't fit, one is tried: what was deep may have gone. */
#define MEMO_DEEP_TRIES 64

/* Several, for threads that run on several stacks: coroutines, signal handlers on a stack of their own. */
#define MEMOS 2

/* One thread's memory of stacks. */
struct memory {
    uint32_t generation; /* of the modules, when `pcs` were filled */
    struct memo *memo;   /* the one used last; NULL at first */
    struct memo memos[MEMOS];
    struct pc_entry pcs[1u << PC_ENTRIES_LOG2];
    struct recent_stack recent[RECENT_STACKS];
    struct memo_fresh fresh[MEMO_FRESH]; /* innermost first */
};

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
