/*
 * Touches 12 MB, and waits to be killed. `behind bss`: of the program's own variables. `behind mapped`: of memory that
 * it maps right behind the variables of a library (its argument), so that the kernel joins both.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (12 << 20)
static char variables[BYTES];

int main(int count, char **arguments) {
    if (count < 2) return 2;
    char *memory = variables;
    if (strcmp(arguments[1], "mapped") == 0) {
        if (count < 3) return 2;
        /* The kernel places the library, which is larger than any gap, below this, which then goes. */
        void *reserved = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        struct link_map *library = dlopen(arguments[2], RTLD_NOW);
        if (library == NULL || munmap(reserved, BYTES) != 0) return 3;
        const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)library->l_addr;
        const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(library->l_addr + header->e_phoff);
        uintptr_t end = 0;
        for (int i = 0; i < header->e_phnum; i++)
            if (segment[i].p_type == PT_LOAD && segment[i].p_vaddr + segment[i].p_memsz > end)
                end = segment[i].p_vaddr + segment[i].p_memsz;
        memory = (char *)((library->l_addr + end + 4095) & ~(uintptr_t)4095);
        if (mmap(memory, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)
            != memory)
            return 4;
    }
    memset(memory, 1, BYTES);
    void *volatile kept = malloc(100);
    printf("%lx\n", (unsigned long)memory);
    fflush(stdout);
    for (;;) pause();
    return kept == NULL;
}
