/*
 * From addresses to modules. A module is entered in the image when the first stack meets it. Two threads
 * that meet it at once may both enter it (readers merge them): nobody waits.
 *
 * Addresses are looked up by _dl_find_object, which takes no lock, where the loader has it (glibc 2.35);
 * else by dl_iterate_phdr, which takes the loader's lock for the time of a walk over its list.
 */
#include "libc_versions.h"
#include "modules.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "atomics.h"
#include "next.h"
#include "options.h"
#include "unwind.h"

/* As <dlfcn.h> declares it since glibc 2.35; by another name, so that older headers do. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[10];
};
static int (*find_object)(void *, struct found_object *);

uint32_t modules_current = 1;

/* What the loader says of one module. */
struct loaded {
    uintptr_t start, end, bias;
    const char *path;
    const uint8_t *eh_frame_hdr; /* NULL: it has none */
};

static struct loaded program; /* the main program, by its program headers, which the kernel names */

/* The span of a module's segments, and its call frame information. */
static struct loaded span_of(const ElfW(Phdr) *segments, size_t count, uintptr_t bias, const char *path) {
    struct loaded span = {.start = UINTPTR_MAX, .bias = bias, .path = path};
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_GNU_EH_FRAME) span.eh_frame_hdr = (const uint8_t *)from;
        if (segments[i].p_type != PT_LOAD) continue;
        if (from < span.start) span.start = from;
        if (from + segments[i].p_memsz > span.end) span.end = from + segments[i].p_memsz;
    }
    span.start &= ~(uintptr_t)(HEAP_PAGE_BYTES - 1);
    return span;
}

void modules_start(void) {
    find_object = (__typeof__(find_object))dlsym(RTLD_DEFAULT, "_dl_find_object");
    if (find_object == NULL) next_forget_error();
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    size_t count = getauxval(AT_PHNUM);
    for (size_t i = 0; segments != NULL && i < count; i++)
        if (segments[i].p_type == PT_PHDR) program = span_of(segments, count, (uintptr_t)segments - segments[i].p_vaddr, "");
}

void modules_changed(void) {
    uint32_t now = __atomic_add_fetch(&modules_current, 1, __ATOMIC_RELEASE); /* partner: modules_generation */
    if (image.header != NULL) store_relaxed(&image.header->generation, now);
    unwind_forget(); /* rules are by address, too */
}

struct search {
    uintptr_t address;
    struct loaded *found;
};

static int visit(struct dl_phdr_info *info, size_t size, void *context) {
    struct search *search = context;
    (void)size;
    struct loaded span = span_of(info->dlpi_phdr, info->dlpi_phnum, info->dlpi_addr, info->dlpi_name);
    if (search->address < span.start || search->address >= span.end) return 0;
    *search->found = span;
    return 1;
}

static bool find_loaded(uintptr_t address, struct loaded *found) {
    if (address - program.start < program.end - program.start) {
        *found = program;
        return true;
    }
    struct found_object object;
    if (likely(find_object != NULL)) {
        if (find_object((void *)address, &object) != 0) return false;
        *found = (struct loaded){(uintptr_t)object.map_start, (uintptr_t)object.map_end, object.link_map->l_addr, object.link_map->l_name, object.eh_frame};
        /* Of a module with gaps between its segments it names the segment alone, which does not begin with the file. */
        if (likely(memcmp(object.map_start, ELFMAG, SELFMAG) == 0)) return true;
    }
    struct search search = {address, found};
    return dl_iterate_phdr(visit, &search) != 0;
}

const char *module_path_of(uintptr_t address) {
    struct loaded found;
    return find_loaded(address, &found) ? found.path : NULL;
}

uintptr_t module_start_of(uintptr_t address) {
    struct loaded found;
    return find_loaded(address, &found) ? found.start : 0;
}

bool module_span_of(uintptr_t address, struct module_span *span) {
    struct loaded found;
    if (!find_loaded(address, &found)) return false;
    *span = (struct module_span){found.start, found.end};
    return true;
}

bool module_frames_of(uintptr_t pc, struct module_frames *frames) {
    struct loaded found;
    if (!find_loaded(pc, &found) || found.eh_frame_hdr == NULL) return false;
    *frames = (struct module_frames){found.start, found.end, found.eh_frame_hdr};
    return true;
}

/* The build-id, from the program headers that lie at the module's start; 0 where there is none. The module is loaded: its headers and notes are mapped memory. */
static uint32_t read_build_id(const struct loaded *module, uint8_t id[HEAP_BUILD_ID_BYTES]) {
    const ElfW(Ehdr) *elf = (const ElfW(Ehdr) *)module->start;
    if (module->end - module->start < HEAP_PAGE_BYTES || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0) return 0;
    if (elf->e_phentsize != sizeof(ElfW(Phdr)) || elf->e_phoff > HEAP_PAGE_BYTES || elf->e_phoff + (uint64_t)elf->e_phnum * sizeof(ElfW(Phdr)) > HEAP_PAGE_BYTES) return 0;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)(module->start + elf->e_phoff);
    for (size_t i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type != PT_NOTE) continue;
        uintptr_t at = module->bias + segments[i].p_vaddr, end = at + segments[i].p_memsz;
        if (at < module->start || end > module->end || end < at) continue;
        uint64_t align = segments[i].p_align == 8 ? 8 : 4;
        while (end - at >= sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
            uint64_t name = (note->n_namesz + align - 1) / align * align, value = (note->n_descsz + align - 1) / align * align;
            uint64_t whole = sizeof *note + name + value;
            if (whole > end - at) break;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(note + 1, "GNU", 4) == 0 && note->n_descsz <= HEAP_BUILD_ID_BYTES) {
                memcpy(id, (const uint8_t *)(note + 1) + name, note->n_descsz);
                return note->n_descsz;
            }
            at += whole;
        }
    }
    return 0;
}

static bool same_file(const struct heap_module *entry, const char *path, size_t path_length, const uint8_t *id, uint32_t id_length) {
    return entry->path.length == path_length && memcmp(image.strings + entry->path.offset, path, path_length) == 0
        && entry->build_id_length == id_length && memcmp(entry->build_id, id, id_length) == 0;
}

/*
 * A path that means the same elsewhere: dlopen("./one.so") leaves the loader with just that. The working directory may not be that of the dlopen any more,
 * but a build-id keeps a wrong file out. Written to `space` where it must be put together. Keeps errno.
 */
static const char *absolute_path(const char *path, char space[PATH_MAX]) {
    if (path[0] == '/') return path;
    int saved = errno;
    bool known = syscall(SYS_getcwd, space, PATH_MAX) > 0 && space[0] == '/';
    errno = saved;
    if (!known) return path;
    while (path[0] == '.' && path[1] == '/') path += 2;
    size_t length = strlen(space), more = strlen(path);
    if (length + 1 + more >= PATH_MAX) return path;
    if (length > 1) space[length++] = '/';
    memcpy(space + length, path, more + 1);
    return space;
}

/* The module's number in the image, entered where it is new; 0 where there is no space. */
static uint32_t module_number(const struct loaded *module, char space[PATH_MAX]) {
    const char *path = module->path[0] != '\0' ? absolute_path(module->path, space) : options.program;
    size_t path_length = strlen(path);
    uint8_t id[HEAP_BUILD_ID_BYTES];
    uint32_t id_length = read_build_id(module, id);
    struct heap_section *section = &image.header->sections[HEAP_SECTION_MODULES];
    uint64_t used = load_acquire(&section->used);
    uint32_t number = 0;
    bool replaced = false;
    for (uint64_t i = 1; i < used; i++) { /* of two entries for one file all settle on the first */
        struct heap_module *entry = &image.modules[i];
        if (!(load_acquire(&entry->flags) & HEAP_MODULE_READY)) continue; /* partner: the release below */
        if (same_file(entry, path, path_length, id, id_length)) {
            if (number == 0) number = (uint32_t)i;
            continue;
        }
        if (entry->unloaded_ns == 0 && entry->start < module->end && module->start < entry->end) {
            /* Another file lay here: it was unloaded unseen (__libc_dlclose can't be interposed). */
            entry->unloaded_ns = image_nanoseconds();
            replaced = true;
        }
    }
    if (replaced) modules_changed();
    if (number != 0) {
        struct heap_module *entry = &image.modules[number];
        if (entry->bias != module->bias) {
            /* The same file came back elsewhere. Frames are offsets and stay right. */
            entry->start = module->start;
            entry->end = module->end;
            entry->bias = module->bias;
            or_relaxed(&entry->flags, HEAP_MODULE_MOVED);
        }
        entry->unloaded_ns = 0;
        return number;
    }
    int64_t fresh = image_take(HEAP_SECTION_MODULES, 1);
    if (fresh < 0) return 0;
    struct heap_module *entry = &image.modules[fresh];
    entry->path = image_string(path, path_length);
    memcpy(entry->build_id, id, id_length);
    entry->build_id_length = id_length;
    entry->bias = module->bias;
    entry->start = module->start;
    entry->end = module->end;
    entry->loaded_ns = image_nanoseconds();
    store_release(&entry->flags, HEAP_MODULE_READY); /* partner: the acquire above, and readers */
    return (uint32_t)fresh;
}

static bool is_cached(const struct cached_module *entry, const struct loaded *module) {
    return entry->start == module->start && entry->end == module->end && entry->bias == module->bias && entry->path == module->path;
}

/* The module's number, from the cache where it is there: entering it means reading its notes. */
static uint32_t cached_number(const struct loaded *module, struct module_cache *cache) {
    uint32_t now = modules_generation();
    if (cache->generation != now) {
        memset(cache->entries, 0, sizeof cache->entries);
        cache->generation = now;
    }
    for (size_t i = 0; i < MODULE_CACHE_ENTRIES; i++)
        if (is_cached(&cache->entries[i], module)) return cache->entries[i].number;
    uint32_t number = module_number(module, cache->path);
    if (number == 0) return 0;
    struct cached_module *entry = &cache->entries[cache->next++ % MODULE_CACHE_ENTRIES];
    entry->start = 0;
    fence_compiler(); /* a longjmp out of a handler must not leave one module's span with another's number */
    *entry = (struct cached_module){.end = module->end, .bias = module->bias, .path = module->path, .number = number};
    fence_compiler();
    entry->start = module->start;
    return number;
}

uint64_t frame_of(uintptr_t pc, struct module_cache *cache) {
    struct loaded module;
    if (!find_loaded(pc, &module)) return heap_frame_make(HEAP_MODULE_NONE, pc);
    uint32_t number = cached_number(&module, cache);
    if (number != 0) return heap_frame_make(number, pc - module.bias);
    LOSE(refused_modules, 1);
    return heap_frame_make(HEAP_MODULE_NONE, pc);
}
