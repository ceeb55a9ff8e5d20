/*
 * Finding musl's modules by address. musl has no _dl_find_object, and its dl_iterate_phdr takes a lock that another
 * thread may hold during dlopen. But its list can be read without the lock: modules are only appended, and a library is
 * never unloaded (musl's dlclose does nothing). Only a dlopen that fails takes back what it appended, and no code of
 * such a library has run. So a module in which an address of code in use was found stays, and is remembered; modules
 * that came by dlopen are read through the kernel (memory_fetch) until then.
 *
 * The list says where a module's file begins, and its program headers are there.
 */
#include <elf.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/loader_list.h"
#include "base/symbols.h"
#include "base/system.h"

#define KNOWN_MOST 512   /* later ones are looked up again each time */
#define SEGMENTS_MOST 32 /* program headers of a module that are examined */
#define MODULES_MOST 4096

/* The modules found so far, never changed again. `end` is written last: 0 means not there yet. */
static struct loaded known[KNOWN_MOST];
static uint32_t known_count;

static bool find_known(uintptr_t address, struct loaded *found) {
    uint32_t count = load_relaxed(&known_count);
    for (uint32_t i = 0; i < count && i < KNOWN_MOST; i++) {
        uintptr_t end = load_acquire(&known[i].end); /* partner: remember's release */
        if (address >= end || address < known[i].start) continue;
        *found = known[i];
        return true;
    }
    return false;
}

/* Two threads may remember the same module at once; that costs an entry. */
static void remember(const struct loaded *module) {
    uint32_t place = load_relaxed(&known_count);
    if (place >= KNOWN_MOST) return;
    place = add_relaxed(&known_count, 1);
    if (place >= KNOWN_MOST) return;
    struct loaded *entry = &known[place];
    entry->start = module->start;
    entry->bias = module->bias;
    entry->path = module->path;
    entry->eh_frame_hdr = module->eh_frame_hdr;
    store_release(&entry->end, module->end); /* partner: find_known's acquire */
}

/* The module's range, by the program headers at the start of its file; false if they aren't there. Each header is read
 * alone, as a hook has little stack. */
static bool read_segments(const struct link_map *module, struct loaded *span) {
    ElfW(Ehdr) elf;
    const uintptr_t start = module->l_addr;
    if (!memory_fetch(&elf, start, sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return false;
    if (elf.e_phentsize != sizeof(ElfW(Phdr)) || elf.e_phnum > SEGMENTS_MOST) return false;
    *span = (struct loaded){.start = UINTPTR_MAX, .bias = start, .path = module->l_name};
    for (size_t i = 0; i < elf.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!memory_fetch(&segment, start + elf.e_phoff + i * sizeof segment, sizeof segment)) return false;
        const struct loaded one = loader_segments(&segment, 1, start, NULL);
        if (one.eh_frame_hdr != NULL) span->eh_frame_hdr = one.eh_frame_hdr;
        if (segment.p_type != PT_LOAD) continue;
        if (one.start < span->start) span->start = one.start;
        if (one.end > span->end) span->end = one.end;
    }
    return span->start < span->end;
}

bool musl_find(const struct link_map *first, uintptr_t address, struct loaded *found) {
    if (find_known(address, found)) return true;
    uintptr_t at = (uintptr_t)first, before = 0;
    for (uint32_t count = 0; at != 0 && count < MODULES_MOST; count++) {
        struct link_map module; /* the public part */
        if (!memory_fetch(&module, at, sizeof module) || (uintptr_t)module.l_prev != before) return false;
        struct loaded span;
        if (read_segments(&module, &span) && address >= span.start && address < span.end) {
            remember(&span);
            *found = span;
            return true;
        }
        before = at;
        at = (uintptr_t)module.l_next;
    }
    return false;
}
