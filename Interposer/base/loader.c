/*
 * The loader's list of modules, and look-ups in it. The list is in the order of loading. For the modules of the start
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
#include "base/symbols.h"
#include "base/system.h"

/* The loader's list, under glibc's name and musl's. Both names are reserved: no program may define them. */
#pragma weak _r_debug
extern struct r_debug *_dl_debug_addr __attribute__((weak));
/* This library's own dynamic section: it identifies the library's entry in the list. */
extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* As <dlfcn.h> has declared it since glibc 2.35; renamed, so that it compiles with older headers too. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[10];
};
static int (*find_object)(void *, struct found_object *);
static int (*iterate)(int (*)(struct dl_phdr_info *, size_t, void *), void *); /* glibc's dl_iterate_phdr */
static unsigned long (*auxiliary)(unsigned long);
static char ***environment;

uint32_t loader_changes = 1, loader_closing;

static struct link_map *own;           /* NULL: not in the list, so nothing can be found */
static struct link_map *last_of_start; /* modules after it came by dlopen */
static struct link_map *libc;
static struct link_map *interpreter; /* the loader's own entry; with musl that is libc */
static bool has_glibc, is_explicit;
static struct module_span loader; /* its own code */
static struct loaded program;     /* the main program, by its program headers, which the kernel names */

static struct link_map *first_module(void) {
    if (&_r_debug != NULL && _r_debug.r_map != NULL) return _r_debug.r_map;
    return &_dl_debug_addr != NULL && _dl_debug_addr != NULL ? _dl_debug_addr->r_map : NULL;
}

static uintptr_t find_of_type(const struct link_map *module, const char *name, enum symbol_type type) {
    struct symbols symbols;
    return symbols_read((uintptr_t)module->l_ld, module->l_addr, false, &symbols) ? symbols_find(&symbols, name, type)
                                                                                  : 0;
}
static uintptr_t find_in(const struct link_map *module, const char *name) {
    return find_of_type(module, name, SYMBOL_FUNCTION);
}

static void *find_in_loader(const char *name) {
    return interpreter != NULL ? (void *)find_in(interpreter, name) : NULL;
}

/* The first definition in the order of the list, except this library's. */
static void *first(const char *name, enum symbol_type type) {
    uintptr_t found = 0;
    for (struct link_map *module = first_module(); found == 0 && module != NULL; module = module->l_next)
        if (module != own) found = find_of_type(module, name, type);
    return (void *)found;
}

/* Finds the span of a module's segments, and its call frame information. */
static struct loaded span_of(const ElfW(Phdr) * segments, size_t count, uintptr_t bias, const char *path) {
    struct loaded span = {.start = UINTPTR_MAX, .bias = bias, .path = path};
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_GNU_EH_FRAME) span.eh_frame_hdr = (const uint8_t *)from;
        if (segments[i].p_type != PT_LOAD) continue;
        if (from < span.start) span.start = from;
        if (from + segments[i].p_memsz > span.end) span.end = from + segments[i].p_memsz;
    }
    span.start &= ~(uintptr_t)4095;
    return span;
}

static void find_program(void) {
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)loader_auxiliary(AT_PHDR);
    size_t count = loader_auxiliary(AT_PHNUM);
    for (size_t i = 0; segments != NULL && i < count; i++)
        if (segments[i].p_type == PT_PHDR)
            program = span_of(segments, count, (uintptr_t)segments - segments[i].p_vaddr, "");
    /* The kernel loaded no interpreter, because it was told to run the loader itself. glibc has put the program's
     * headers into the vector since. */
    is_explicit = has_glibc && loader_auxiliary(AT_BASE) == 0;
}

/* Finds the clock in the vDSO. musl's list does not have the vDSO, and Valgrind hides it. */
static void find_clock(void) {
    const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)loader_auxiliary(AT_SYSINFO_EHDR);
    if (elf == NULL || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0) return;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((uintptr_t)elf + elf->e_phoff);
    uintptr_t dynamic = 0, bias = (uintptr_t)elf;
    for (size_t i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type == PT_DYNAMIC) dynamic = segments[i].p_vaddr;
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0) bias = (uintptr_t)elf - segments[i].p_vaddr;
    }
    struct symbols symbols;
    if (dynamic != 0 && symbols_read(bias + dynamic, bias, false, &symbols))
        store_relaxed(&system_clock_function,
            (int (*)(clockid_t, struct timespec *))symbols_find(&symbols, VDSO_CLOCK, SYMBOL_FUNCTION));
}

void loader_start(void) {
    if (own != NULL) return;
    for (struct link_map *module = first_module(); module != NULL; module = module->l_next) {
        struct symbols symbols;
        if (module->l_ld == _DYNAMIC) own = module;
        last_of_start = module;
        if (&_r_debug != NULL && module->l_addr == _r_debug.r_ldbase) interpreter = module;
        if (libc == NULL && symbols_read((uintptr_t)module->l_ld, module->l_addr, false, &symbols)
            && symbols.soname != 0 && strcmp((const char *)symbols.soname, "libc.so.6") == 0)
            libc = module;
    }
    has_glibc = libc != NULL && find_in(libc, "gnu_get_libc_version") != 0;
    /* libc's own functions, even if a module before it defines the name. */
    *(void **)&auxiliary = has_glibc ? loader_libc("getauxval") : find_in_loader("getauxval");
    *(void **)&iterate = has_glibc ? loader_libc("dl_iterate_phdr") : find_in_loader("dl_iterate_phdr");
    *(void **)&find_object = has_glibc ? loader_libc("_dl_find_object") : NULL;
    environment = first("__environ", SYMBOL_VARIABLE);
    find_program();
    find_clock();
    loader_span_of(
        is_explicit ? (uintptr_t)(&_r_debug != NULL ? _r_debug.r_ldbase : 0) : loader_auxiliary(AT_BASE), &loader);
}

bool loader_holds(uintptr_t address) { return module_span_holds(&loader, address); }

const char *loader_own_path(void) { return own != NULL ? own->l_name : NULL; }

bool loader_has_glibc(void) { return has_glibc; }

bool loader_glibc_is_first(void) {
    for (struct link_map *module = libc; module != NULL; module = module->l_next)
        if (module == own) return true;
    return false;
}

bool loader_is_explicit(void) { return is_explicit; }

bool loader_is_late(void) {
    for (const struct link_map *module = interpreter; module != NULL; module = module->l_next)
        if (module == own) return true;
    return false;
}

char **loader_environment(void) { return environment != NULL ? *environment : NULL; }

unsigned long loader_auxiliary(unsigned long type) {
    if (auxiliary == NULL) return 0;
    int saved = errno;
    unsigned long value = auxiliary(type);
    errno = saved;
    return value;
}

void *loader_next_behind(const char *name) {
    for (struct link_map *module = own != NULL ? own->l_next : NULL; module != NULL; module = module->l_next) {
        uintptr_t found = find_in(module, name);
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
    struct link_map *module = own != NULL ? own->l_next : NULL;
    for (; module != NULL && module != libc && module != interpreter; module = module->l_next) {
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
    for (struct link_map *module = first_module(); found == 0 && module != NULL && module != own;
         module = module->l_next)
        found = find_in(module, name);
    return (void *)found;
}

void *loader_old_libc(const char *name) {
    return libc != NULL ? (void *)find_of_type(libc, name, SYMBOL_OLD_FUNCTION) : NULL;
}

void *loader_libc(const char *name) { return libc != NULL ? (void *)find_in(libc, name) : NULL; }

/* ---- Modules by address --------------------------------------------------------------------------------- */

struct search {
    uintptr_t address;
    struct loaded *found;
};

static int visit(struct dl_phdr_info *info, size_t size, void *context) {
    struct search *search = context;
    (void)size;
    if (!memory_is_readable((uintptr_t)info->dlpi_phdr)) return 0; /* a module that hides its headers */
    struct loaded span = span_of(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name);
    if (search->address < span.start || search->address >= span.end) return 0;
    *search->found = span;
    return 1;
}

bool loader_find(uintptr_t address, struct loaded *found) {
    if (address - program.start < program.end - program.start) {
        *found = program;
        return true;
    }
    struct found_object object;
    if (likely(find_object != NULL)) {
        if (find_object((void *)address, &object) != 0) return false;
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
    struct search search = {address, found};
    return iterate != NULL && iterate(visit, &search) != 0;
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

void *loader_own(const char *name) { return own != NULL ? (void *)find_in(own, name) : NULL; }

struct walk {
    bool (*visit)(const struct loader_module *, void *);
    void *context;
};

static int visit_module(struct dl_phdr_info *info, size_t size, void *context) {
    const struct walk *walk = context;
    (void)size;
    if (!memory_is_readable((uintptr_t)info->dlpi_phdr)) return 0; /* a module that hides its headers */
    struct loader_module module = {
        .span = span_of(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name)};
    for (size_t i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_DYNAMIC) module.dynamic = start;
        if (segment->p_type == PT_GNU_RELRO) { /* as the loader rounds it (elf/dl-reloc.c, _dl_protect_relro) */
            module.relro_start = start & ~(uintptr_t)4095;
            module.relro_end = (start + segment->p_memsz) & ~(uintptr_t)4095;
        }
    }
    if (module.dynamic == 0) return 0;
    module.is_own = module.dynamic == (uintptr_t)_DYNAMIC;
    module.is_loaders = (libc != NULL && module.dynamic == (uintptr_t)libc->l_ld)
        || (interpreter != NULL && module.dynamic == (uintptr_t)interpreter->l_ld);
    /* The loader enters a module there once it is relocated (elf/dl-open.c, dl_open_worker_begin). */
    struct found_object object;
    module.is_relocated = find_object != NULL && find_object((void *)module.dynamic, &object) == 0;
    return walk->visit(&module, walk->context);
}

bool loader_each(bool (*visit)(const struct loader_module *, void *), void *context) {
    struct walk walk = {visit, context};
    if (iterate == NULL) return false;
    iterate(visit_module, &walk);
    return true;
}

static int count_modules(struct dl_phdr_info *info, size_t size, void *context) {
    if (size >= offsetof(struct dl_phdr_info, dlpi_tls_modid))
        *(uint64_t *)context = (uint64_t)(info->dlpi_adds * 0x9E3779B97F4A7C15ull + info->dlpi_subs);
    return 1;
}

uint64_t loader_modules_number(void) {
    uint64_t number = 0;
    if (iterate != NULL) iterate(count_modules, &number);
    return number;
}

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
    if (likely(find_object != NULL)) {
        if (find_object((void *)address, &object) != 0) return GUESS_NO_MODULE;
        return guess_by_headers((uintptr_t)object.map_start, (uintptr_t)object.map_end, address);
    }
    struct loaded module;
    return loader_find(address, &module) ? guess_by_headers(module.start, module.end, address) : GUESS_NO_MODULE;
}

/* ---- The scope of what came by dlopen ------------------------------------------------------------------- */

/*
 * A library loaded by dlopen searches the global scope first, then the scope of the library that was opened: that
 * library and what it needs, breadth first. The public part of the list does not say which library was opened. We take
 * the first one that needs the caller's library, directly or not, and that no other library needs; if every candidate
 * is needed by another, the first candidate. Libraries opened with RTLD_GLOBAL come earlier, but nothing marks them.
 */

#define SCOPE_MODULES 4096 /* later ones are not examined */

/* A copy of one module that came by dlopen. */
struct late {
    struct symbols symbols;
    char soname[64]; /* or the file's name */
    uintptr_t function;
    bool is_met, is_needed; /* by the current walk; by another of these modules */
};

/* Work space, mapped for each look-up: it is too large for a program's stack, and threads may look up at once. */
struct scope {
    size_t count;
    struct late modules[SCOPE_MODULES];
    uint16_t queue[SCOPE_MODULES];
    char path[PATH_MAX];
};

/* Reads the list after the modules of the start; false if it changed during the reading. Leaves out a module that is
 * being unloaded. */
static bool read_late_modules(struct scope *scope, const char *name) {
    uintptr_t before = (uintptr_t)last_of_start, at = (uintptr_t)last_of_start->l_next;
    for (scope->count = 0; at != 0 && scope->count < SCOPE_MODULES;) {
        struct link_map map; /* only the public part */
        if (!memory_fetch(&map, at, sizeof map) || (uintptr_t)map.l_prev != before) return false;
        before = at;
        at = (uintptr_t)map.l_next;
        struct late *late = &scope->modules[scope->count];
        *late = (struct late){.function = 0};
        if (!symbols_read((uintptr_t)map.l_ld, map.l_addr, system_may_look(), &late->symbols)) continue;
        if (!symbols_soname(&late->symbols, late->soname, sizeof late->soname)) {
            const char *slash = memory_fetch_string(scope->path, (uintptr_t)map.l_name, sizeof scope->path)
                ? strrchr(scope->path, '/')
                : NULL;
            if (slash != NULL) memcpy(late->soname, slash + 1, strnlen(slash + 1, sizeof late->soname - 1));
        }
        late->function = symbols_find(&late->symbols, name, SYMBOL_FUNCTION);
        scope->count++;
    }
    return true;
}

static size_t late_module_named(const struct scope *scope, const char *soname) {
    for (size_t i = 0; i < scope->count; i++)
        if (strcmp(scope->modules[i].soname, soname) == 0) return i;
    return SIZE_MAX;
}

/* Queues a module and everything it needs, breadth first; returns how many. */
static size_t follow(struct scope *scope, size_t from) {
    size_t count = 0;
    for (size_t i = 0; i < scope->count; i++) scope->modules[i].is_met = false;
    scope->modules[from].is_met = true;
    scope->queue[count++] = (uint16_t)from;
    for (size_t at = 0; at < count; at++) {
        char needed[64];
        for (size_t n = 0; symbols_needed(&scope->modules[scope->queue[at]].symbols, n, needed, sizeof needed); n++) {
            const char *slash = strrchr(needed, '/'); /* a library without a soname is needed by its path */
            size_t module = late_module_named(scope, slash != NULL ? slash + 1 : needed);
            if (module == SIZE_MAX) continue;
            if (module != scope->queue[at]) scope->modules[module].is_needed = true;
            if (scope->modules[module].is_met) continue;
            scope->modules[module].is_met = true;
            scope->queue[count++] = (uint16_t)module;
        }
    }
    return count;
}

static uintptr_t function_for(struct scope *scope, size_t caller) {
    size_t definers = 0, only = 0;
    for (size_t i = 0; i < scope->count; i++)
        if (scope->modules[i].function != 0) definers++, only = i;
    if (definers == 0) return 0;
    if (definers == 1) return scope->modules[only].function;    /* nearly always so: the C++ runtime */
    for (size_t i = 0; i < scope->count; i++) follow(scope, i); /* marks those that others need */
    /* A library that no other needs was opened itself. What it needs may come before it in the list: a runtime stays
     * loaded when its first user is unloaded. */
    for (int any = 0; any < 2; any++)
        for (size_t opened = 0; opened < scope->count; opened++) {
            if (!any && scope->modules[opened].is_needed) continue;
            size_t count = follow(scope, opened);
            if (!scope->modules[caller].is_met) continue;
            for (size_t i = 0; i < count; i++)
                if (scope->modules[scope->queue[i]].function != 0) return scope->modules[scope->queue[i]].function;
        }
    /* No visible scope has it: take the first of those that dlopen may have made global. */
    for (size_t i = 0; i < scope->count; i++)
        if (scope->modules[i].function != 0) return scope->modules[i].function;
    return 0;
}

bool loader_defines(const void *function, const char *name) {
    struct found_object object;
    /* an older glibc needs the loader's lock for this; the generation alone must do */
    if (find_object == NULL) return true;
    if (find_object((void *)function, &object) != 0) return false;
    /* a module that hides its headers hides its symbols too */
    if (!memory_is_readable((uintptr_t)object.map_start)) return true;
    return find_in(object.link_map, name) == (uintptr_t)function;
}

static bool is_of_start(uintptr_t address) {
    for (const struct link_map *module = first_module(); module != NULL; module = module->l_next) {
        if ((uintptr_t)module->l_ld == address) return true;
        if (module == last_of_start) break;
    }
    return false;
}

#define WALKS 16 /* tries, as other threads may change the list */

void *loader_scoped(const char *name, uintptr_t caller) {
    struct loaded module;
    struct found_object object = {0};
    if (own == NULL || !loader_find(caller, &module)) return NULL;
    /* The caller's own module stays loaded during its call. */
    const struct link_map *callers =
        find_object != NULL && find_object((void *)caller, &object) == 0 ? object.link_map : NULL;
    const bool starts = callers != NULL ? is_of_start((uintptr_t)callers->l_ld) : false;
    struct scope *scope = system_map_memory(sizeof *scope);
    if (scope == NULL) return callers != NULL ? (void *)find_in(callers, name) : NULL;
    uintptr_t function = 0;
    bool found = false;
    for (int walk = 0; walk < WALKS && !found; walk++) {
        bool whole = read_late_modules(scope, name);
        size_t at = 0;
        while (at < scope->count && scope->modules[at].symbols.dynamic - module.start >= module.end - module.start)
            at++;
        if (at < scope->count) {
            function = function_for(scope, at);
            found = whole;
            /* it searches the global scope: take the first that dlopen may have added to that */
        } else if (whole && (starts || callers == NULL)) {
            for (size_t i = 0; function == 0 && i < scope->count; i++) function = scope->modules[i].function;
            found = true;
        }
    }
    if (!found && callers != NULL && !starts) {
        uintptr_t own_function = find_in(callers, name);
        if (own_function != 0) function = own_function;
    }
    system_unmap(scope, sizeof *scope);
    return (void *)function;
}
