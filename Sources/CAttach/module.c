/*
 * The dynamic symbols of a module in another process. They are read from its memory, because the module's file may have
 * been replaced. Each value from that memory is checked against bounds before use.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attach.h"
#include "frame.h"

#define SYMBOLS_MOST (1u << 20)
#define NAMES_MOST (64u << 20)
#define CODE_MOST (64u << 20)

struct attach_module {
    pid_t pid;
    uint64_t bias, code_start, code_end;
    Elf64_Sym *symbols;
    size_t count;
    char *names;
    size_t name_bytes;
};

ssize_t attach_read(pid_t pid, uint64_t address, void *buffer, size_t count) {
    struct iovec here = {buffer, count}, there = {(void *)(uintptr_t)address, count};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return got < 0 ? -errno : got;
}

ssize_t attach_write(pid_t pid, uint64_t address, const void *buffer, size_t count) {
    return frame_copy(pid, address, buffer, count);
}

int attach_give_back(int file, off_t bytes) {
    return fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, bytes) == 0 ? 0 : -errno;
}

int attach_shares_memory(pid_t one, pid_t other) {
    long answer = syscall(SYS_kcmp, one, other, 1 /* KCMP_VM */, 0, 0);
    return answer < 0 ? -errno : answer == 0;
}

static void *copy(pid_t pid, uint64_t address, size_t bytes) {
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL) return NULL;
    if (attach_read(pid, address, memory, bytes) == (ssize_t)bytes) return memory;
    free(memory);
    return NULL;
}

/* The number of symbols, from the end of the GNU hash table's last chain; 0: unknown. */
static size_t count_symbols(pid_t pid, uint64_t hash) {
    uint32_t head[4]; /* buckets, first symbol, words of the filter, shift */
    if (attach_read(pid, hash, head, sizeof head) != sizeof head || head[0] > SYMBOLS_MOST || head[2] > SYMBOLS_MOST)
        return 0;
    uint64_t buckets = hash + sizeof head + head[2] * 8ull, chains = buckets + head[0] * 4ull;
    uint32_t *list = copy(pid, buckets, head[0] * 4ull), last = 0;
    for (uint32_t i = 0; list != NULL && i < head[0]; i++)
        if (list[i] > last) last = list[i];
    free(list);
    if (last < head[1]) return head[1];
    for (uint32_t word; last < SYMBOLS_MOST; last++) {
        if (attach_read(pid, chains + (last - head[1]) * 4ull, &word, sizeof word) != sizeof word) return 0;
        if (word & 1) return last + 1;
    }
    return 0;
}

struct attach_module *attach_module_read(pid_t pid, uint64_t start) {
    Elf64_Ehdr elf;
    if (attach_read(pid, start, &elf, sizeof elf) != sizeof elf || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0
        || elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_phentsize != sizeof(Elf64_Phdr) || elf.e_phnum > 64)
        return NULL;
    Elf64_Phdr *segments = copy(pid, start + elf.e_phoff, elf.e_phnum * sizeof *segments);
    struct attach_module *module = calloc(1, sizeof *module);
    if (segments == NULL || module == NULL) goto failed;
    module->pid = pid;
    uint64_t dynamic = 0, dynamic_bytes = 0;
    for (size_t i = 0; i < elf.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0) module->bias = start - segments[i].p_vaddr;
    for (size_t i = 0; i < elf.e_phnum; i++) {
        uint64_t from = module->bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_DYNAMIC) dynamic = from, dynamic_bytes = segments[i].p_memsz;
        if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_X) {
            if (module->code_start == 0) module->code_start = from;
            module->code_end = from + segments[i].p_memsz;
        }
    }
    if (dynamic == 0 || dynamic_bytes > 65536) goto failed;
    Elf64_Dyn *entries = copy(pid, dynamic, dynamic_bytes);
    if (entries == NULL) goto failed;
    uint64_t table = 0, names = 0, hash = 0;
    for (size_t i = 0; i < dynamic_bytes / sizeof *entries && entries[i].d_tag != DT_NULL; i++) {
        /* glibc has added the bias already, except in a read-only section. */
        uint64_t value = entries[i].d_un.d_ptr, address = value < start ? value + module->bias : value;
        switch (entries[i].d_tag) {
            case DT_SYMTAB: table = address; break;
            case DT_STRTAB: names = address; break;
            case DT_GNU_HASH: hash = address; break;
            case DT_STRSZ: module->name_bytes = value; break;
            default: break;
        }
    }
    free(entries);
    if (table == 0 || names == 0 || hash == 0 || module->name_bytes == 0 || module->name_bytes > NAMES_MOST)
        goto failed;
    module->count = count_symbols(pid, hash);
    module->symbols = copy(pid, table, module->count * sizeof *module->symbols);
    module->names = copy(pid, names, module->name_bytes);
    if (module->count == 0 || module->symbols == NULL || module->names == NULL) goto failed;
    module->names[module->name_bytes - 1] = 0;
    free(segments);
    return module;
failed:
    free(segments);
    attach_module_free(module);
    return NULL;
}

void attach_module_free(struct attach_module *module) {
    if (module == NULL) return;
    free(module->symbols);
    free(module->names);
    free(module);
}

static const Elf64_Sym *find(const struct attach_module *module, const char *name, unsigned char type) {
    for (size_t i = 1; i < module->count; i++) {
        const Elf64_Sym *symbol = &module->symbols[i];
        if (symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == type
            && symbol->st_name < module->name_bytes && strcmp(module->names + symbol->st_name, name) == 0)
            return symbol;
    }
    return NULL;
}

uint64_t attach_symbol(const struct attach_module *module, const char *name) {
    const Elf64_Sym *symbol = find(module, name, STT_FUNC);
    return symbol != NULL ? module->bias + symbol->st_value : 0;
}

uint64_t attach_variable(const struct attach_module *module, const char *name) {
    const Elf64_Sym *symbol = find(module, name, STT_OBJECT);
    return symbol != NULL ? module->bias + symbol->st_value : 0;
}

int attach_symbol_span(
    const struct attach_module *module, const char *name, const char *last, uint64_t *start, uint64_t *end) {
    const Elf64_Sym *first = find(module, name, STT_FUNC), *behind = find(module, last, STT_FUNC);
    if (first == NULL || behind == NULL || behind->st_value < first->st_value) return 0;
    uint64_t low = module->code_start - module->bias, high = module->code_end - module->bias;
    for (size_t i = 1; i < module->count; i++) {
        const Elf64_Sym *symbol = &module->symbols[i];
        uint8_t type = ELF64_ST_TYPE(symbol->st_info);
        if (symbol->st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC)) continue;
        if (symbol->st_value < first->st_value && symbol->st_value + symbol->st_size > low)
            low = symbol->st_value + symbol->st_size;
        if (symbol->st_value > behind->st_value && symbol->st_value < high) high = symbol->st_value;
    }
    *start = module->bias + (low < first->st_value ? low : first->st_value);
    *end = module->bias + high;
    return 1;
}

uint64_t attach_find_code(const struct attach_module *module, const uint8_t *code, size_t count) {
    uint64_t bytes = module->code_end - module->code_start, found = 0;
    if (module->code_end <= module->code_start || bytes > CODE_MOST) return 0;
    uint8_t *memory = copy(module->pid, module->code_start, bytes);
    uint8_t *at = memory != NULL ? memmem(memory, bytes, code, count) : NULL;
    if (at != NULL) found = module->code_start + (uint64_t)(at - memory);
    free(memory);
    return found;
}

int attach_code_span(const struct attach_module *module, uint64_t *start, uint64_t *end) {
    *start = module->code_start;
    *end = module->code_end;
    return module->code_end > module->code_start;
}
