/*
 * From addresses to modules: what makes a frame mean the same in every process and run.
 */
#ifndef HEAPSUM_MODULES_H
#define HEAPSUM_MODULES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atomics.h"
#include "image.h"

/* Where the loader keeps its maps; once, at the start. */
void modules_start(void);

/* The path of the module that holds `address` ("" for the main program), or NULL. Lives as long as the module. */
const char *module_path_of(uintptr_t address);

/* The first address of the module that holds `address`, or 0. */
uintptr_t module_start_of(uintptr_t address);

/* A module's addresses: [start, end); none, where it is all zero. */
struct module_span {
    uintptr_t start, end;
};

/* The span of the module that holds `address`; false, and `*span` untouched, where none does. */
bool module_span_of(uintptr_t address, struct module_span *span);

static inline bool module_span_holds(const struct module_span *span, uintptr_t address) { return address - span->start < span->end - span->start; }

/* Where a module's call frame information is, and the module's own span. */
struct module_frames {
    uintptr_t start, end;
    const uint8_t *eh_frame_hdr;
};

/* The call frame information for the module that holds `pc`; false where there is none. */
bool module_frames_of(uintptr_t pc, struct module_frames *frames);

/* A thread's last modules, with their numbers in the image. */
#define MODULE_CACHE_ENTRIES 16
struct module_cache {
    uint32_t generation; /* of the module map, when it was filled */
    uint32_t next;       /* the entry to be replaced */
    struct cached_module {
        uintptr_t start, end, bias;
        const char *path;
        uint32_t number;
    } entries[MODULE_CACHE_ENTRIES];
    char path[PATH_MAX]; /* work space, which nobody touches but for a module of a relative path */
};

/* Incremented when a module went: what was remembered by address is void. */
extern uint32_t modules_current;
static inline uint32_t modules_generation(void) { return load_acquire(&modules_current); } /* partner: modules_changed */

/*
 * The frame of a pc: module and offset. New modules are entered in the image on the way. No allocation, and no wait where the loader has
 * _dl_find_object. Complexity: some hundred instructions.
 */
uint64_t frame_of(uintptr_t pc, struct module_cache *cache);

/* A module may have gone: what was remembered by address is void. */
void modules_changed(void);

#endif
