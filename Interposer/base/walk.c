/*
 * The walk over all modules under the loader's lock, for an attached start and what follows it. Hooks never take that
 * lock.
 */
#include <elf.h>

#include "base/loader.h"
#include "base/loader_list.h"
#include "base/symbols.h"
#include "base/system.h"

struct walk {
    bool (*visit)(const struct loader_module *, void *);
    void *context;
};

static int visit_module(struct dl_phdr_info *info, size_t size, void *context) {
    const struct walk *walk = context;
    (void)size;
    if (!memory_is_readable((uintptr_t)info->dlpi_phdr)) return 0; /* a module that hides its headers */
    struct loader_module module = {
        .span = loader_segments(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name)};
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC) module.dynamic = start;
        if (segment->p_type == PT_GNU_RELRO) { /* as the loader rounds it (elf/dl-reloc.c, _dl_protect_relro) */
            module.relro_start = start & ~(loader_page_bytes() - 1);
            module.relro_end = (start + segment->p_memsz) & ~(loader_page_bytes() - 1);
        }
    }
    if (module.dynamic == 0) return 0;
    module.is_own = module.dynamic == (uintptr_t)_DYNAMIC;
    module.is_loaders = (loader_list.libc != NULL && module.dynamic == (uintptr_t)loader_list.libc->l_ld)
        || (loader_list.interpreter != NULL && module.dynamic == (uintptr_t)loader_list.interpreter->l_ld);
    /* The loader enters a module there once it is relocated (elf/dl-open.c, dl_open_worker_begin). */
    struct found_object object;
    module.is_relocated =
        loader_list.find_object != NULL && loader_list.find_object((void *)module.dynamic, &object) == 0;
    return walk->visit(&module, walk->context);
}

bool loader_each(bool (*visit)(const struct loader_module *, void *), void *context) {
    struct walk walk = {visit, context};
    if (loader_list.iterate == NULL) return false;
    loader_list.iterate(visit_module, &walk);
    return true;
}

static int count_modules(struct dl_phdr_info *info, size_t size, void *context) {
    if (size >= offsetof(struct dl_phdr_info, dlpi_tls_modid))
        *(uint64_t *)context = (uint64_t)(info->dlpi_adds * 0x9E3779B97F4A7C15ull + info->dlpi_subs);
    return 1;
}

uint64_t loader_modules_number(void) {
    uint64_t number = 0;
    if (loader_list.iterate != NULL) loader_list.iterate(count_modules, &number);
    return number;
}
