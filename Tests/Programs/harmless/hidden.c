/* A library that hides its own first page, as some do against being read: its headers, and mostly its symbols and call
 * frame information, can't be read from then on. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef LIBRARY
void *first(void *(*allocate)(size_t)) { return allocate(11); }
void *second(void *(*allocate)(size_t)) { return allocate(22); }
#else
void *first(void *(*)(size_t)), *second(void *(*)(size_t));

static int hide(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size;
    uintptr_t address = (uintptr_t)context;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) copy = info->dlpi_phdr[i], *segment = &copy; /* they lie in what is hidden */
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X)
            || address - info->dlpi_addr - segment->p_vaddr >= segment->p_memsz)
            continue;
        /* All before the code, and the constants behind it: where the loader put them. */
        return mprotect((void *)info->dlpi_addr, segment->p_vaddr & ~4095ul, PROT_NONE) == 0
                && mprotect((void *)(info->dlpi_addr + ((segment->p_vaddr + segment->p_memsz + 4095) & ~4095ul)), 4096,
                       PROT_NONE)
                    == 0
            ? 1
            : -1;
    }
    return 0;
}

void *volatile kept;
int main(void) {
    kept = first(malloc);
    int hidden = dl_iterate_phdr(hide, (void *)first);
    kept = second(malloc);
    kept = first(malloc);
    return printf("%d\n", hidden) < 0;
}
#endif
