/*
 * The loader's list of modules, and look-ups in it by name and by address. walk.c goes through all modules, scope.c
 * finds what a library loaded by dlopen would call. The list is in the order of loading. For the modules of the start
 * that is the order of the global scope: the program, the preloads, then what they need, breadth first.
 *
 * The modules of the start are never unloaded. Another thread can unload a module that came by dlopen at any instant,
 * so those are read through the kernel (memory_fetch). What was read of a module that has gone leads to no answer, or
 * to an answer that nobody calls.
 */
#include "base/loader.h"

#include <elf.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "base/changed.h"
#include "base/loader_list.h"
#include "base/symbols.h"
#include "base/system.h"

/* The loader's list, under glibc's name and musl's. Both names are reserved: no program may define them. */
#pragma weak _r_debug
extern struct r_debug *_dl_debug_addr __attribute__((weak));
struct loader_list loader_list;
static unsigned long (*auxiliary)(unsigned long);
static char ***environment;
static uintptr_t arguments;

uint32_t loader_changes = 1, loader_closing;

static bool has_glibc, has_musl, is_explicit;
static struct module_span loader; /* its own code */
static struct loaded program;     /* the main program, by its program headers, which the kernel names */

/* What the loader keeps for debuggers: the same fields in both C libraries. NULL: neither has it. */
static const struct r_debug *loaders_debug(void) {
    if (&_r_debug != NULL && _r_debug.r_map != NULL) return &_r_debug;
    return &_dl_debug_addr != NULL ? _dl_debug_addr : NULL;
}

struct link_map *loader_first_module(void) {
    const struct r_debug *debug = loaders_debug();
    return debug != NULL ? debug->r_map : NULL;
}

static uintptr_t find_of_type(const struct link_map *module, const char *name, enum symbol_type type) {
    struct symbols symbols;
    return symbols_read((uintptr_t)module->l_ld, module->l_addr, false, &symbols) ? symbols_find(&symbols, name, type)
                                                                                  : 0;
}
uintptr_t loader_find_in(const struct link_map *module, const char *name) {
    return find_of_type(module, name, SYMBOL_FUNCTION);
}

static void *find_in_loader(const char *name) {
    return loader_list.interpreter != NULL ? (void *)loader_find_in(loader_list.interpreter, name) : NULL;
}

/* The first definition in the order of the list, except this library's. */
static void *first(const char *name, enum symbol_type type) {
    uintptr_t found = 0;
    for (struct link_map *module = loader_first_module(); found == 0 && module != NULL; module = module->l_next)
        if (module != loader_list.own) found = find_of_type(module, name, type);
    return (void *)found;
}

static void find_program(void) {
    program = loader_program((const ElfW(Phdr) *)loader_auxiliary(AT_PHDR), loader_auxiliary(AT_PHNUM));
    /* The kernel loaded no interpreter, because it was told to run the loader itself. glibc has put the program's
     * headers into the vector since; with musl they are the loader's own, which its list names. */
    is_explicit = (has_glibc || has_musl) && loader_auxiliary(AT_BASE) == 0;
    if (is_explicit && has_musl) program = (struct loaded){.start = 0};
}

void loader_start(void) {
    if (loader_list.own != NULL) return;
    const struct r_debug *debug = loaders_debug();
    for (struct link_map *module = loader_first_module(); module != NULL; module = module->l_next) {
        struct symbols symbols;
        if (module->l_ld == _DYNAMIC) loader_list.own = module;
        loader_list.last_of_start = module;
        if (module->l_addr == debug->r_ldbase) loader_list.interpreter = module;
        if (loader_list.libc == NULL && symbols_read((uintptr_t)module->l_ld, module->l_addr, false, &symbols)
            && symbols.soname != 0 && strcmp((const char *)symbols.soname, "libc.so.6") == 0)
            loader_list.libc = module;
    }
    has_glibc = loader_list.libc != NULL && loader_find_in(loader_list.libc, "gnu_get_libc_version") != 0;
    /* musl's loader and libc are one file; no other loader starts programs. */
    has_musl = loader_list.libc == NULL && find_in_loader("__libc_start_main") != NULL;
    if (has_musl) loader_list.libc = loader_list.interpreter;
    /* libc's own functions, even if a module before it defines the name. */
    *(void **)&auxiliary = loader_libc("getauxval");
    *(void **)&loader_list.iterate = loader_libc("dl_iterate_phdr");
    *(void **)&loader_list.find_object = has_glibc ? loader_libc("_dl_find_object") : NULL;
    environment = first("__environ", SYMBOL_VARIABLE);
    if (has_musl) arguments = loader_arguments_before(loader_environment());
    find_program();
    loader_find_clock((const ElfW(Ehdr) *)loader_auxiliary(AT_SYSINFO_EHDR));
    loader_span_of(is_explicit && debug != NULL ? debug->r_ldbase : loader_auxiliary(AT_BASE), &loader);
}

bool loader_holds(uintptr_t address) { return module_span_holds(&loader, address); }

const char *loader_own_path(void) { return loader_list.own != NULL ? loader_list.own->l_name : NULL; }

bool loader_has_glibc(void) { return has_glibc; }

bool loader_has_musl(void) { return has_musl; }

bool loader_is_static(void) { return false; }

bool loader_libc_is_first(void) {
    for (struct link_map *module = loader_list.libc; module != NULL; module = module->l_next)
        if (module == loader_list.own) return true;
    return false;
}

bool loader_is_explicit(void) { return is_explicit; }

bool loader_is_late(void) {
    for (const struct link_map *module = loader_list.interpreter; module != NULL; module = module->l_next)
        if (module == loader_list.own) return true;
    return false;
}

char **loader_environment(void) { return environment != NULL ? *environment : NULL; }

uintptr_t loader_arguments(void) { return arguments; }

unsigned long loader_auxiliary(unsigned long type) {
    if (auxiliary == NULL) return 0;
    int saved = errno;
    unsigned long value = auxiliary(type);
    errno = saved;
    return value;
}

void *loader_next_behind(const char *name) {
    for (struct link_map *module = loader_list.own != NULL ? loader_list.own->l_next : NULL; module != NULL;
         module = module->l_next) {
        uintptr_t found = loader_find_in(module, name);
        if (found != 0) return (void *)found;
    }
    return NULL;
}

void *loader_next(const char *name) {
    void *found = loader_next_behind(name);
    return found != NULL ? found : first(name, SYMBOL_FUNCTION);
}

/* Whether the module is one of the libraries that glibc was split into before 2.34. */
static bool is_part_of_libc(const struct symbols *symbols) {
    static const char parts[][16] = {"libpthread.so.0", "libdl.so.2", "librt.so.1"};
    if (symbols->soname == 0) return false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp((const char *)symbols->soname, parts[i]) == 0) return true;
    return false;
}

/* Whether a module may pass its calls on to libc's function: it is an allocator, or looks functions up by name. */
static bool may_wrap(const struct symbols *symbols) {
    return symbols_find(symbols, "malloc", SYMBOL_FUNCTION) != 0 || symbols_imports(symbols, "dlsym")
        || symbols_imports(symbols, "dlvsym");
}

void *loader_unrelated(const char *name, bool or_wrapper) {
    struct link_map *module = loader_list.own != NULL ? loader_list.own->l_next : NULL;
    for (; module != NULL && module != loader_list.libc && module != loader_list.interpreter; module = module->l_next) {
        struct symbols symbols;
        if (!symbols_read((uintptr_t)module->l_ld, module->l_addr, false, &symbols)) continue;
        uintptr_t found = symbols_find(&symbols, name, SYMBOL_FUNCTION);
        if (found == 0) continue;
        return is_part_of_libc(&symbols) || (!or_wrapper && may_wrap(&symbols)) ? NULL : (void *)found;
    }
    return NULL;
}

void *loader_before(const char *name) {
    uintptr_t found = 0;
    for (struct link_map *module = loader_first_module(); found == 0 && module != NULL && module != loader_list.own;
         module = module->l_next)
        found = loader_find_in(module, name);
    return (void *)found;
}

void *loader_old_libc(const char *name) {
    return loader_list.libc != NULL ? (void *)find_of_type(loader_list.libc, name, SYMBOL_OLD_FUNCTION) : NULL;
}

void *loader_libc(const char *name) {
    return loader_list.libc != NULL ? (void *)loader_find_in(loader_list.libc, name) : NULL;
}

/* ---- Modules by address --------------------------------------------------------------------------------- */

struct search {
    uintptr_t address;
    struct loaded *found;
};

static int visit(struct dl_phdr_info *info, size_t size, void *context) {
    struct search *search = context;
    (void)size;
    if (!memory_is_readable((uintptr_t)info->dlpi_phdr)) return 0; /* a module that hides its headers */
    struct loaded span = loader_segments(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name);
    if (search->address < span.start || search->address >= span.end) return 0;
    *search->found = span;
    return 1;
}

/* The loader's functions may use vectors. Apart, because the room for them is large. */
static __attribute__((noinline)) int find_object_keeping_vectors(void *address, struct found_object *found) {
    int answer;
    KEEPING_VECTORS(answer = loader_list.find_object(address, found));
    return answer;
}
static __attribute__((noinline)) int iterate_keeping_vectors(struct search *search) {
    int answer;
    KEEPING_VECTORS(answer = loader_list.iterate(visit, search));
    return answer;
}

static int find_object(uintptr_t address, struct found_object *found) {
    if (unlikely(load_relaxed(&code_is_changed))) return find_object_keeping_vectors((void *)address, found);
    return loader_list.find_object((void *)address, found);
}
static int iterate(struct search *search) {
    if (unlikely(load_relaxed(&code_is_changed))) return iterate_keeping_vectors(search);
    return loader_list.iterate(visit, search);
}

bool loader_find(uintptr_t address, struct loaded *found) {
    if (address - program.start < program.end - program.start) {
        *found = program;
        return true;
    }
    struct found_object object;
    if (likely(loader_list.find_object != NULL)) {
        if (find_object(address, &object) != 0) return false;
        *found = (struct loaded){(uintptr_t)object.map_start, (uintptr_t)object.map_end, object.link_map->l_addr,
            object.link_map->l_name, object.eh_frame};
        /* If a module has gaps between its segments, this names only the segment, which does not begin with the file.
         */
        /* the file begins at address 0, as in nearly all modules */
        if (likely((uintptr_t)object.map_start == object.link_map->l_addr)) return true;
        uint8_t magic[SELFMAG];
        if (memory_fetch(magic, (uintptr_t)object.map_start, sizeof magic) && memcmp(magic, ELFMAG, SELFMAG) == 0)
            return true;
    }
    if (has_musl) return musl_find(loader_first_module(), address, found);
    struct search search = {address, found};
    return loader_list.iterate != NULL && iterate(&search) != 0;
}

const char *loader_path_of(uintptr_t address) {
    struct loaded found;
    return loader_find(address, &found) ? found.path : NULL;
}

uintptr_t loader_start_of(uintptr_t address) {
    struct loaded found;
    return loader_find(address, &found) ? found.start : 0;
}

bool loader_span_of(uintptr_t address, struct module_span *span) {
    struct loaded found;
    if (!loader_find(address, &found)) return false;
    *span = (struct module_span){found.start, found.end};
    return true;
}

void *loader_own(const char *name) {
    return loader_list.own != NULL ? (void *)loader_find_in(loader_list.own, name) : NULL;
}

bool loader_each_of_start(bool (*visit_one)(const struct loaded *module, void *context), void *context) {
    for (struct link_map *module = loader_first_module(); module != NULL; module = module->l_next) {
        struct loaded found;
        if (loader_find((uintptr_t)module->l_ld, &found) && visit_one(&found, context)) return true;
        if (module == loader_list.last_of_start) break;
    }
    return false;
}

static bool holds_address(const struct loaded *module, void *context) {
    return *(const uintptr_t *)context - module->start < module->end - module->start;
}

bool loader_is_of_start(uintptr_t address) { return loader_each_of_start(holds_address, &address); }

/* Decides by the program headers at a module's start. If a module has gaps between its segments, the loader names only
 * the segment, and no header is there. */
static enum guessed guess_by_headers(uintptr_t start, uintptr_t end, uintptr_t address) {
    ElfW(Ehdr) elf;
    if (end - start < sizeof elf || !memory_fetch(&elf, start, sizeof elf)) return GUESS_DATA;
    if (memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0) return GUESS_CODE;
    if (elf.e_phentsize != sizeof(ElfW(Phdr)) || elf.e_phoff > 4096
        || elf.e_phoff + (uint64_t)elf.e_phnum * sizeof(ElfW(Phdr)) > 4096)
        return GUESS_DATA;
    uintptr_t bias = start;
    for (size_t i = 0; i < elf.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!memory_fetch(&segment, start + elf.e_phoff + i * sizeof segment, sizeof segment)) return GUESS_DATA;
        if (segment.p_type != PT_LOAD) continue;
        if (segment.p_offset == 0) bias = start - segment.p_vaddr; /* the first: it holds the headers */
        if (segment.p_flags & PF_X && address - (bias + segment.p_vaddr) < segment.p_memsz) return GUESS_CODE;
    }
    return GUESS_DATA;
}

enum guessed loader_guess(uintptr_t address) {
    if (address - program.start < program.end - program.start)
        return guess_by_headers(program.start, program.end, address);
    struct found_object object;
    if (likely(loader_list.find_object != NULL)) {
        if (find_object(address, &object) != 0) return GUESS_NO_MODULE;
        return guess_by_headers((uintptr_t)object.map_start, (uintptr_t)object.map_end, address);
    }
    struct loaded module;
    return loader_find(address, &module) ? guess_by_headers(module.start, module.end, address) : GUESS_NO_MODULE;
}

bool loader_defines(const void *function, const char *name) {
    struct found_object object;
    /* an older glibc needs the loader's lock for this; the generation alone must do */
    if (loader_list.find_object == NULL) return true;
    if (loader_list.find_object((void *)function, &object) != 0) return false;
    /* a module that hides its headers hides its symbols too */
    if (!memory_is_readable((uintptr_t)object.map_start)) return true;
    return loader_find_in(object.link_map, name) == (uintptr_t)function;
}
