/*
 * Finds the module of an address. A module is entered in the image when it first appears in a stack. If two threads
 * meet it at once, both may enter it: nobody waits, and readers merge the entries.
 */
#include "stacks/modules.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "base/atomics.h"
#include "base/maps.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "stacks/python_layout.h"

void modules_changed(void) {
    uint32_t now = __atomic_add_fetch(&loader_changes, 1, __ATOMIC_RELEASE); /* partner: loader_generation */
    if (image.header != NULL) store_relaxed(&image.header->generation, now);
}

bool module_frames_of(uintptr_t pc, struct module_frames *frames) {
    struct loaded found;
    if (!loader_find(pc, &found) || found.eh_frame_hdr == NULL) return false;
    *frames = (struct module_frames){found.start, found.end, found.eh_frame_hdr};
    return true;
}

/* Reads the build-id from a segment's notes, [at, end). Returns its length; 0 if there is none or it can't be read. */
static uint32_t read_notes(uintptr_t at, uintptr_t end, uint64_t align, uint8_t id[HEAP_BUILD_ID_BYTES]) {
    ElfW(Nhdr) note;
    char owner[4];
    while (end - at >= sizeof note && memory_fetch(&note, at, sizeof note)) {
        uint64_t name = (note.n_namesz + align - 1) / align * align,
                 value = (note.n_descsz + align - 1) / align * align;
        uint64_t whole = sizeof note + name + value;
        if (whole > end - at) break;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof owner && note.n_descsz <= HEAP_BUILD_ID_BYTES
            && memory_fetch(owner, at + sizeof note, sizeof owner) && memcmp(owner, "GNU", sizeof owner) == 0)
            return memory_fetch(id, at + sizeof note + name, note.n_descsz) ? note.n_descsz : 0;
        at += whole;
    }
    return 0;
}

/*
 * Reads the build-id by way of the program headers at the module's start. Returns its length; 0 if there is none. The
 * headers are mapped while the module is, but a program may have made them unreadable.
 */
static uint32_t read_build_id(const struct loaded *module, uint8_t id[HEAP_BUILD_ID_BYTES]) {
    ElfW(Ehdr) elf;
    if (module->end - module->start < HEAP_PAGE_BYTES || !memory_fetch(&elf, module->start, sizeof elf)
        || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0)
        return 0;
    if (elf.e_phentsize != sizeof(ElfW(Phdr)) || elf.e_phoff > HEAP_PAGE_BYTES
        || elf.e_phoff + (uint64_t)elf.e_phnum * sizeof(ElfW(Phdr)) > HEAP_PAGE_BYTES)
        return 0;
    for (size_t i = 0; i < elf.e_phnum; i++) {
        ElfW(Phdr) segment;
        if (!memory_fetch(&segment, module->start + elf.e_phoff + i * sizeof segment, sizeof segment)) return 0;
        if (segment.p_type != PT_NOTE) continue;
        uintptr_t at = module->bias + segment.p_vaddr, end = at + segment.p_memsz;
        if (at < module->start || end > module->end || end < at) continue;
        uint32_t length = read_notes(at, end, segment.p_align == 8 ? 8 : 4, id);
        if (length != 0) return length;
    }
    return 0;
}

/* A module's file as it is on the disk. If everything but the path is zero, it is not known. */
struct file {
    const char *path;
    uint64_t device, inode, bytes, modified_ns;
    bool is_replaced; /* the mapped file is no longer the one at this path */
};

static const char deleted[] = " (deleted)"; /* the kernel appends this to the path of a deleted file */

/* A device's numbers, as the kernel packs them for stat (linux/kdev_t.h, new_encode_dev and above). */
static uint32_t device_major(uint64_t device) {
    return (uint32_t)(device >> 8 & 0xFFF) | (uint32_t)(device >> 32 & ~0xFFFull);
}
static uint32_t device_minor(uint64_t device) {
    return (uint32_t)(device & 0xFF) | (uint32_t)(device >> 12 & ~0xFFull);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length > end_length && strcmp(text + length - end_length, end) == 0;
}

/*
 * The file of a module. The loader has the path as the program named it: after dlopen("./one.so") exactly that,
 * although the working directory may have changed since. For a program that was started by naming the loader, it has no
 * path. In these cases the kernel is asked for the path of the mapping. The kernel is also asked whether the file of a
 * module without a build-id is still there, because nothing else would tell it from a wrong file. `space` holds the
 * path if it has to be copied.
 */
static struct file file_of(const struct loaded *module, bool has_build_id, char space[PATH_MAX]) {
    bool is_program = module->path[0] == '\0';
    struct file file = {.path = is_program ? options.program : module->path};
    struct mapping mapping = {0};
    bool is_named = file.path[0] == '/' && !(is_program && loader_is_explicit());
    bool is_mapped =
        (!is_named || !has_build_id) && maps_find(module->start, &mapping, space, PATH_MAX) && space[0] == '/';
    if (is_mapped && !is_named) file.path = space;
    struct stat status;
    bool is_there = system_may_look() && system_stat(file.path, &status) == 0;
    if (is_mapped && ends_with(space, deleted) && !(is_there && status.st_ino == mapping.inode)) {
        file.is_replaced = true;
        if (!is_named) space[strlen(space) - strlen(deleted)] = '\0';
        return file;
    }
    if (!is_there) return file;
    /* On an overlay file system the mapping has the device and inode of the underlying file. So inodes are compared
     * only if the devices are equal. */
    bool same_device =
        device_major(status.st_dev) == mapping.device_major && device_minor(status.st_dev) == mapping.device_minor;
    if (is_mapped && same_device && status.st_ino != mapping.inode) file.is_replaced = true;
    file.device = status.st_dev;
    file.inode = status.st_ino;
    file.bytes = (uint64_t)status.st_size;
    file.modified_ns = (uint64_t)status.st_mtim.tv_sec * 1000000000u + (uint64_t)status.st_mtim.tv_nsec;
    return file;
}

static bool same_file(const struct heap_module *entry, const struct file *file, size_t path_length, const uint8_t *id,
    uint32_t id_length) {
    return entry->path.length == path_length && memcmp(image.strings + entry->path.offset, file->path, path_length) == 0
        && entry->build_id_length == id_length && memcmp(entry->build_id, id, id_length) == 0
        && (id_length != 0
            || (entry->inode == file->inode && entry->file_bytes == file->bytes
                && entry->modified_ns == file->modified_ns));
}

/* The module's number in the image; a new module is entered. 0 if there is no space. */
static uint32_t module_number(const struct loaded *module, char space[PATH_MAX]) {
    uint8_t id[HEAP_BUILD_ID_BYTES];
    uint32_t id_length = read_build_id(module, id);
    struct file file = file_of(module, id_length != 0, space);
    if (unlikely(options.python)) python_look(module);
    size_t path_length = strlen(file.path);
    struct heap_section *section = &image.header->sections[HEAP_SECTION_MODULES];
    uint64_t used = load_acquire(&section->used);
    uint32_t number = 0;
    bool replaced = false;
    for (uint64_t i = 1; i < used; i++) { /* of two entries for one file, everybody uses the first */
        struct heap_module *entry = &image.modules[i];
        if (!(load_acquire(&entry->flags) & HEAP_MODULE_READY)) continue; /* partner: the release below */
        if (same_file(entry, &file, path_length, id, id_length)) {
            if (number == 0) number = (uint32_t)i;
            continue;
        }
        if (entry->unloaded_ns == 0 && entry->start < module->end && module->start < entry->end) {
            /* Another file was loaded here before. Its unloading was not seen (__libc_dlclose can't be interposed). */
            entry->unloaded_ns = image_nanoseconds();
            replaced = true;
        }
    }
    if (replaced) modules_changed();
    if (number != 0) {
        struct heap_module *entry = &image.modules[number];
        if (entry->bias != module->bias) {
            /* The same file was loaded again at another address. Frames are offsets and stay right. */
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
    entry->path = image_string(file.path, path_length);
    memcpy(entry->build_id, id, id_length);
    entry->build_id_length = id_length;
    entry->bias = module->bias;
    entry->start = module->start;
    entry->end = module->end;
    entry->loaded_ns = image_nanoseconds();
    entry->device = file.device;
    entry->inode = file.inode;
    entry->file_bytes = file.bytes;
    entry->modified_ns = file.modified_ns;
    /* partner: the acquire above, and readers */
    store_release(&entry->flags, HEAP_MODULE_READY | (file.is_replaced ? HEAP_MODULE_REPLACED : 0));
    return (uint32_t)fresh;
}

static bool is_cached(const struct cached_module *entry, const struct loaded *module) {
    return entry->start == module->start && entry->end == module->end && entry->bias == module->bias
        && entry->path == module->path;
}

/* The module's number, from the cache if possible, because entering a module means reading its notes. */
static uint32_t cached_number(const struct loaded *module, struct module_cache *cache) {
    uint32_t now = loader_generation();
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
    fence_compiler(); /* a longjmp out of a handler must not leave one module's span with another module's number */
    *entry = (struct cached_module){.end = module->end, .bias = module->bias, .path = module->path, .number = number};
    fence_compiler();
    entry->start = module->start;
    return number;
}

uint64_t frame_of(uintptr_t pc, struct module_cache *cache) {
    struct loaded module;
    if (!loader_find(pc, &module)) return heap_frame_make(HEAP_MODULE_NONE, pc);
    uint32_t number = cached_number(&module, cache);
    if (number != 0) return heap_frame_make(number, pc - module.bias);
    LOSE(refused_modules, 1);
    return heap_frame_make(HEAP_MODULE_NONE, pc);
}
