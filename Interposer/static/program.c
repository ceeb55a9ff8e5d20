/*
 * base/loader.h for a static program: there is no loader, and one module, the program. The next functions are those
 * that the linker renamed (wrapped.h), so nothing is looked up by name when the program runs.
 *
 * libc can load libraries into a static program (glibc does for iconv and host names). They come with a libc of their
 * own, whose allocations are not seen; their frames have no module.
 */
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/loader.h"
#include "base/loader_list.h"
#include "include/version.h"
#include "static/wrapped.h"

uint32_t loader_changes = 1, loader_closing;
struct loader_list loader_list;

/* By this note heaprun knows that the library is in the program. */
#define TEXT(number) #number
#define VERSION_TEXT(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)
struct note {
    uint32_t name_bytes, value_bytes, type;
    char name[8], value[16];
};
__attribute__((used, section(".note.heapsum"), aligned(4))) static const struct note note = {sizeof "heapsum",
    sizeof note.value, 1, "heapsum", VERSION_TEXT(HEAPSUM_VERSION_MAJOR, HEAPSUM_VERSION_MINOR, HEAPSUM_VERSION_PATCH)};

/* This library's code has a section of its own, which the linker finds the ends of. */
extern const char __start_heapsum_text[] __attribute__((visibility("hidden")));
extern const char __stop_heapsum_text[] __attribute__((visibility("hidden")));
/* The program's ELF header, by the linker. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* Of libc, under reserved names: of both, of glibc, of musl. */
extern char **__environ;
extern int __libc_enable_secure __attribute__((weak));
extern void *__libc_malloc(size_t bytes) __attribute__((weak));
extern void *__libc_memalign(size_t alignment, size_t bytes) __attribute__((weak));
extern int __malloc_allzerop(void *block) __attribute__((weak));

static struct loaded program;
static const ElfW(auxv_t) * vector;
static uintptr_t arguments;

/* ---- The program ---------------------------------------------------------------------------------------- */

/* The kernel puts the auxiliary vector behind the environment. */
static void find_vector(void) {
    char **at = __environ;
    if (at == NULL) return;
    while (*at != NULL) at++;
    vector = (const ElfW(auxv_t) *)(at + 1);
}

void loader_start(void) {
    if (program.end != 0 || __environ == NULL) return;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
    uintptr_t bias = 0;
    for (size_t i = 0; i < __ehdr_start.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0)
            bias = (uintptr_t)&__ehdr_start - segments[i].p_vaddr;
    find_vector();
    if (loader_has_musl()) arguments = loader_arguments_before(__environ);
    loader_find_clock((const ElfW(Ehdr) *)loader_auxiliary(AT_SYSINFO_EHDR));
    program = loader_segments(segments, __ehdr_start.e_phnum, bias, "");
}

struct link_map *loader_first_module(void) {
    return NULL;
}

char **loader_environment(void) { return __environ; }

uintptr_t loader_arguments(void) { return arguments; }

unsigned long loader_auxiliary(unsigned long type) {
    for (const ElfW(auxv_t) *entry = vector; entry != NULL && entry->a_type != AT_NULL; entry++)
        if (entry->a_type == type) return entry->a_un.a_val;
    return 0;
}

bool loader_has_glibc(void) { return &__libc_enable_secure != NULL; }
bool loader_has_musl(void) { return !loader_has_glibc(); }

bool loader_find(uintptr_t address, struct loaded *found) {
    if (address - program.start >= program.end - program.start) return false;
    *found = program;
    return true;
}

/* Of this library's code alone: the allocator and the program have no spans of their own. */
bool loader_span_of(uintptr_t address, struct module_span *span) {
    const struct module_span own = {(uintptr_t)__start_heapsum_text, (uintptr_t)__stop_heapsum_text};
    if (!module_span_holds(&own, address)) return false;
    *span = own;
    return true;
}

uintptr_t loader_start_of(uintptr_t address) {
    struct loaded found;
    return loader_find(address, &found) ? found.start : 0;
}

enum guessed loader_guess(uintptr_t address) {
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((uintptr_t)&__ehdr_start + __ehdr_start.e_phoff);
    if (address - program.start >= program.end - program.start) return GUESS_NO_MODULE;
    for (size_t i = 0; i < __ehdr_start.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_flags & PF_X
            && address - (program.bias + segments[i].p_vaddr) < segments[i].p_memsz)
            return GUESS_CODE;
    return GUESS_DATA;
}

/* ---- The next functions ----------------------------------------------------------------------------------- */

/* Functions of many types, of which only the addresses are needed here. */
#define DECLARE(name) extern char __real_##name[];
#define DECLARE_WEAK(name) extern char __real_##name[] __attribute__((weak));
WRAPPED(DECLARE)
WRAPPED_WITHOUT(DECLARE_WEAK)
extern size_t malloc_usable_size(void *block);

static const struct real {
    char name[24];
    void *function;
} reals[] = {
#define REAL(name) {#name, __real_##name},
    WRAPPED(REAL) WRAPPED_WITHOUT(REAL){"malloc_usable_size", (void *)malloc_usable_size}};

/*
 * Some of musl's functions are built on others, which they call by name: calloc on malloc, the rest on aligned_alloc.
 * Nothing tells such a call from the program's, and it would be booked twice. So these do what musl's do.
 */
#define CALL(type, name) ((type)(void *)__real_##name)
typedef void *malloc_function(size_t);
typedef void *aligned_function(size_t, size_t);

static void *calloc_of_musl(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *block = CALL(malloc_function *, malloc)(bytes);
    /* fresh memory of the kernel's stays untouched */
    if (block == NULL || (__malloc_allzerop != NULL && __malloc_allzerop(block))) return block;
    return memset(block, 0, bytes);
}

static int posix_memalign_of_musl(void **to, size_t alignment, size_t bytes) {
    if (alignment < sizeof(void *)) return EINVAL;
    void *block = CALL(aligned_function *, aligned_alloc)(alignment, bytes);
    if (block == NULL) return errno;
    *to = block;
    return 0;
}

static void *valloc_of_musl(size_t bytes) {
    return CALL(aligned_function *, aligned_alloc)(loader_page_bytes(), bytes);
}

static const struct real reals_of_musl[] = {
    {"calloc", (void *)calloc_of_musl},
    {"posix_memalign", (void *)posix_memalign_of_musl},
    {"memalign", __real_aligned_alloc},
    {"valloc", (void *)valloc_of_musl},
};

void *loader_next(const char *name) {
    for (size_t i = 0; loader_has_musl() && i < sizeof reals_of_musl / sizeof reals_of_musl[0]; i++)
        if (strcmp(reals_of_musl[i].name, name) == 0) return reals_of_musl[i].function;
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        if (strcmp(reals[i].name, name) == 0) return reals[i].function;
    return NULL;
}

void *loader_next_behind(const char *name) { return loader_next(name); }

/* Whether malloc is glibc's: a program may have another, and then the object file with glibc's is not linked. */
static bool is_glibcs(void) { return __libc_memalign != NULL && (void *)__libc_malloc == loader_next("malloc"); }

/* Of the allocator alone. */
const char *loader_path_of(uintptr_t address) {
    if (address != (uintptr_t)loader_next("malloc")) return NULL;
    if (is_glibcs()) return "glibc's libc.a";
    return loader_has_musl() && __libc_malloc != NULL ? "musl's libc.a" : NULL;
}

void *loader_libc(const char *name) {
    if (strcmp(name, "malloc") == 0 || strcmp(name, "__libc_malloc") == 0)
        return is_glibcs() ? (void *)__libc_malloc : NULL;
    if (strcmp(name, "__register_atfork") == 0 || strcmp(name, "pthread_atfork") == 0) return (void *)pthread_atfork;
    return loader_next(name);
}

void *loader_old_libc(const char *name) {
    (void)name;
    return NULL;
}

void *loader_unrelated(const char *name, bool or_wrapper) {
    (void)name;
    (void)or_wrapper;
    return NULL;
}

void *loader_before(const char *name) {
    (void)name;
    return NULL;
}

void *loader_scoped(const char *name, uintptr_t caller) {
    (void)name;
    (void)caller;
    return NULL;
}

void *loader_own(const char *name) {
    (void)name;
    return NULL;
}

bool loader_defines(const void *function, const char *name) {
    (void)function;
    (void)name;
    return true;
}

/* ---- What needs a loader ---------------------------------------------------------------------------------- */

bool loader_is_static(void) { return true; }
const char *loader_own_path(void) { return NULL; }
bool loader_libc_is_first(void) { return false; }
bool loader_is_explicit(void) { return false; }
bool loader_is_late(void) { return false; }

bool loader_holds(uintptr_t address) {
    (void)address;
    return false;
}

bool loader_each(bool (*visit)(const struct loader_module *, void *), void *context) {
    (void)visit;
    (void)context;
    return false;
}

bool loader_each_of_start(bool (*visit)(const struct loaded *, void *), void *context) {
    (void)visit;
    (void)context;
    return false;
}

bool loader_is_of_start(uintptr_t address) {
    (void)address;
    return true;
}

uint64_t loader_modules_number(void) { return 0; }
