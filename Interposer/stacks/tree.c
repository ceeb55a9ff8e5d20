/*
 * The stack tree: nodes, and the stacks that end at some of them.
 *
 * A node enters the index after it is written. A signal or a kill between the two leaves an unused node, which does no
 * harm.
 *
 * The number of stacks has a limit, so that a program whose stacks never repeat does not fill the machine with them.
 * Beyond the limit, a new stack is booked under its known outer part: the innermost known node gets one more frame,
 * which says that frames are missing (HEAP_CUT_STACKS). Such cut stacks have a limit, too; beyond that, the nearest cut
 * stack further out is used.
 */
#include "stacks/tree.h"

#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "image/image.h"
#include "stacks/index.h"

uint64_t tree_seed;
static uint64_t cut_stacks; /* cut stacks made so far */

void tree_start(void) {
    const void *random = (const void *)loader_auxiliary(AT_RANDOM);
    if (random != NULL) memcpy(&tree_seed, random, sizeof tree_seed);
    cut_stacks = 0;
    index_start();
}

/* Makes a node that the index does not have yet. 0 if there is no space. */
static uint32_t make_node(uint32_t parent, uint64_t frame) {
    int64_t fresh = image_take(HEAP_SECTION_NODES, 1);
    if (unlikely(fresh < 0)) return 0;
    image.nodes[fresh].frame = frame;
    image.nodes[fresh].parent = parent;
    return index_enter((uint32_t)fresh);
}

static uint32_t make_stack(uint32_t number) {
    struct heap_node *node = &image.nodes[number];
    uint32_t stack = 0;
    int64_t fresh = image_take(HEAP_SECTION_STACKS, 1);
    if (unlikely(fresh < 0)) return 0;
    image.stacks[fresh].node = number;
    /* The new stack has held nothing so far. If a level is taken before its first event, the stack has not changed
     * since. */
    const struct heap_header *header = image.header;
    image.stacks[fresh].levels = heap_levels(load_relaxed(&header->peak_epoch), load_relaxed(&header->snapshots));
    return cas_acq_rel(&node->stack, &stack, (uint32_t)fresh) ? (uint32_t)fresh : stack; /* partner: stack_at */
}

static inline uint32_t stack_at(uint32_t node) { return load_acquire(&image.nodes[node].stack); }

static bool is_full(void) {
    uint64_t most = image.header->maximum_stacks;
    return most != 0 && load_relaxed(&image.header->sections[HEAP_SECTION_STACKS].used) >= most;
}

/* Whether one more cut stack may be made. */
static bool may_cut(void) { return load_relaxed(&cut_stacks) < image.header->maximum_stacks / 8 + 1; }
static uint32_t make_cut_stack(uint32_t node) {
    add_relaxed(&cut_stacks, 1);
    return make_stack(node);
}

/*
 * The cut stack inside `node`, or inside a node further out. 0 if there is no space. The first one inside a node is
 * made together with those inside all its outer nodes, so that one of them is there when no more may be made.
 */
static uint32_t cut_inside(uint32_t node) {
    const uint64_t frame = heap_frame_make(HEAP_MODULE_CUT, HEAP_CUT_STACKS);
    for (uint32_t nearest = 0;; node = image.nodes[node].parent) {
        uint32_t cut = index_find(node, frame), stack = cut != 0 ? stack_at(cut) : 0;
        if (stack != 0) return nearest != 0 ? nearest : stack;
        if (node == 0 || may_cut()) {
            if (cut == 0) cut = make_node(node, frame);
            if (cut != 0) stack = make_cut_stack(cut);
            if (nearest == 0) nearest = stack;
        }
        if (node == 0) return nearest;
    }
}

static uint32_t lost(void) {
    LOSE(lost_stacks, 1);
    return TREE_EMPTY_STACK;
}

struct tree_stack tree_stack(uint32_t node, const uint64_t *frames, uint32_t *nodes, size_t count) {
    size_t known = 0;
    for (; known < count; known++) {
        uint32_t next = index_find(node, frames[known]);
        if (next == 0) break;
        node = nodes[known] = next;
    }
    for (size_t i = known; i < count; i++) nodes[i] = 0;
    uint32_t stack = known == count ? stack_at(node) : 0;
    if (likely(stack != 0)) return (struct tree_stack){stack, false};
    if (unlikely(is_full())) {
        /* If all nodes exist already, only the stack has to be made. */
        bool is_made = known == count && may_cut();
        stack = is_made ? make_cut_stack(node) : cut_inside(known == count ? image.nodes[node].parent : node);
        return stack != 0 ? (struct tree_stack){stack, !is_made} : (struct tree_stack){lost(), false};
    }
    for (size_t i = known; i < count; i++) {
        node = nodes[i] = make_node(node, frames[i]);
        if (unlikely(node == 0)) return (struct tree_stack){lost(), false};
    }
    stack = make_stack(node);
    return (struct tree_stack){likely(stack != 0) ? stack : lost(), false};
}
