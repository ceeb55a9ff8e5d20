/*
 * From addresses to modules: what makes a frame mean the same in every process and run.
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
    char path[PATH_MAX]; /* work space, which nobody touches but for a module whose true path is asked of the kernel */
};

/*
 * The frame of a pc: module and offset. New modules are entered in the image on the way. No allocation, and no wait
 * where the loader has _dl_find_object. Complexity: some hundred instructions.
 */
uint64_t frame_of(uintptr_t pc, struct module_cache *cache);

/* A module may have gone: what was remembered by address is void. */
void modules_changed(void);

#endif
