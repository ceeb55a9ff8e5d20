/*
 * Turns addresses into frames (module and offset), which mean the same in every process and run.
 */
#ifndef HEAPSUM_MODULES_H
#define HEAPSUM_MODULES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "image/image.h"

/* A module's address range, and where its call frame information is. */
struct module_frames {
    uintptr_t start, end;
    const uint8_t *eh_frame_hdr;
};

/* Finds the call frame information of the module that contains `pc`. False if there is none. */
bool module_frames_of(uintptr_t pc, struct module_frames *frames);

/* A thread's last modules, with their numbers in the image. */
#define MODULE_CACHE_ENTRIES 16
struct module_cache {
    uint32_t generation; /* of the module map, when the cache was filled */
    uint32_t next;       /* the next entry to replace */
    struct cached_module {
        uintptr_t start, end, bias;
        const char *path;
        uint32_t number;
    } entries[MODULE_CACHE_ENTRIES];
    char path[PATH_MAX]; /* work space; used only for a module whose path must be asked of the kernel */
};

/*
 * The frame of a pc: module and offset. Enters a new module in the image. No allocation; no waiting if the loader has
 * _dl_find_object. Complexity: a few hundred instructions.
 */
uint64_t frame_of(uintptr_t pc, struct module_cache *cache);

/* Called when a module may have been unloaded: everything cached by address becomes invalid. */
void modules_changed(void);

#endif
