/*
 * Checks a stack of the tree, reading it the way a reader of the image does.
 */
#include "stacks/check.h"

#include "base/atomics.h"
#include "base/options.h"
#include "image/image.h"
#include "stacks/tree.h"

static void check_tag(uint64_t frame, uint32_t parent) {
    const struct heap_string text = heap_tag_string(frame);
    INVARIANT(parent == 0);
    INVARIANT((text.offset == 0) == (text.length == 0) && text.length <= HEAP_TAG_BYTES);
    INVARIANT((uint64_t)text.offset + text.length <= load_relaxed(&image.header->sections[HEAP_SECTION_STRINGS].used));
}

void check_stack(uint32_t stack) {
    uint64_t nodes = load_relaxed(&image.header->sections[HEAP_SECTION_NODES].used);
    uint64_t modules = load_relaxed(&image.header->sections[HEAP_SECTION_MODULES].used);
    INVARIANT(stack < load_relaxed(&image.header->sections[HEAP_SECTION_STACKS].used));
    if (stack == TREE_EMPTY_STACK) return;
    uint32_t node = image.stacks[stack].node, depth = 0;
    INVARIANT(node < nodes);
    INVARIANT(image.nodes[node].stack == stack);
    for (; node != 0 && node < nodes && depth <= OPTIONS_DEPTH_MOST + 4; depth++) {
        uint32_t module = heap_frame_module(image.nodes[node].frame);
        bool is_real = module != HEAP_MODULE_NONE && module < HEAP_MODULE_PYTHON;
        INVARIANT(!is_real || module < modules);
        if (module == HEAP_MODULE_TAG) check_tag(image.nodes[node].frame, image.nodes[node].parent);
        INVARIANT(image.nodes[node].parent < node);
        node = image.nodes[node].parent;
    }
    INVARIANT(depth > 0 && depth <= image.header->depth + 4);
    INVARIANT(node == 0);
}

void check_frames(uint32_t stack, const struct pcs *pcs, struct module_cache *modules) {
    if (stack == TREE_EMPTY_STACK) return;
    uint32_t node = image.stacks[stack].node;
    for (size_t i = 0; i < pcs->count && node != 0; i++, node = image.nodes[node].parent) {
        uint64_t frame = image.nodes[node].frame;
        if (heap_frame_module(frame) == HEAP_MODULE_CUT) break; /* over the depth limit: the outermost come next */
        INVARIANT(frame == frame_of((uintptr_t)pcs->values[i], modules));
    }
}
