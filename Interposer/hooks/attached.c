/*
 * Starting and ending a recording while the program runs.
 *
 * The order makes it safe. Attaching: the image exists and recording is on before the first entry is redirected, frees
 * before allocations. Detaching: recording is off before the first entry is restored. At any instant in between, each
 * call reaches the allocator, through a hook or directly. While anything is booked, the free of each booked block is
 * booked too.
 */
#include "include/attach.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/atomics.h"
#include "base/callers.h"
#include "base/loader.h"
#include "base/next.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "hooks/booking.h"
#include "hooks/interposed.h"
#include "hooks/late.h"
#include "hooks/redirect.h"
#include "image/image.h"
#include "process/start.h"
#include "threads/hook.h"

/* Here an exported name may be bound to libc's function, so the hooks' addresses come from our own symbol table. Hooks
 * that passing.c reaches by a jump are taken directly: an entry that leads to the next function needs no decision. */
#define PLAIN(name) {#name, NULL, NULL, 0, false},
#define BEHIND_JUMP(name) extern char hook_##name[];
INTERPOSED_C_LESS_COMMON(BEHIND_JUMP)
extern char hook_cfree[], hook_mlockall[], hook_setrlimit[], hook_setrlimit64[], hook_prlimit[], hook_prlimit64[],
    hook_prctl[], hook_syscall[], hook_dlclose[], hook_dlsym[];

/* clang-format off */
static struct redirection redirections[] = {
    /* At the end: the functions that map memory, which are redirected only under --mappings. */
    INTERPOSED_C(PLAIN) INTERPOSED_C_LESS_COMMON(PLAIN) INTERPOSED_NEW(PLAIN) INTERPOSED_DELETE(PLAIN)
    /* Functions that would harm the recording, or harm the program because of the recording. */
    PLAIN(cfree) PLAIN(mlockall) PLAIN(setrlimit) PLAIN(setrlimit64) PLAIN(prlimit) PLAIN(prlimit64) PLAIN(prctl)
        PLAIN(syscall) PLAIN(dlclose) PLAIN(dlsym)
        PLAIN(munmap) PLAIN(shmdt) PLAIN(madvise) PLAIN(mremap) PLAIN(mmap) PLAIN(mmap64) PLAIN(brk) PLAIN(sbrk)
            PLAIN(shmat)};
/* clang-format on */
#define COUNT (sizeof redirections / sizeof redirections[0])
#define MAPPING_COUNT ((size_t)9)
#define MALLOC_COUNT (COUNT - MAPPING_COUNT)

/* In which pass a name is redirected: redirect.h. */
static uint32_t order_of(const char *name) {
    static const char makers[][16] = {"malloc", "calloc", "posix_memalign", "memalign", "aligned_alloc", "valloc",
        "pvalloc", /* malloc's family */
        "mmap", "mmap64", "brk", "sbrk", "shmat"};
    if (strncmp(name, "realloc", 7) == 0 || strcmp(name, "mremap") == 0) return 1;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(makers[i], name) == 0) return 2;
    return strncmp(name, "_Zn", 3) == 0 ? 2 : 0; /* operator new */
}

/* clang-format off */
static void *hook_of(const char *name) {
#define MATCH(name_) \
    if (strcmp(name, #name_) == 0) return hook_##name_;
    INTERPOSED_C_LESS_COMMON(MATCH)
    MATCH(cfree) MATCH(mlockall) MATCH(setrlimit) MATCH(setrlimit64) MATCH(prlimit) MATCH(prlimit64) MATCH(prctl)
    MATCH(syscall) MATCH(dlclose) MATCH(dlsym)
    return loader_own(name);
}
/* clang-format on */

/* Finds the function that each name leads to without us: the first in the order of the loader's list. */
static void fill_in(void) {
    static bool filled;
    if (filled) return;
    filled = true;
    for (size_t i = 0; i < MALLOC_COUNT; i++) {
        struct redirection *one = &redirections[i];
        one->next = loader_next(one->name);
        one->hook = hook_of(one->name);
        one->order = order_of(one->name);
    }
}

/* The hooks of libheapsum-mappings.so, if that is loaded. */
static bool find_mapping_hooks(const struct loader_module *module, void *context) {
    struct symbols symbols;
    if (!symbols_read(module->dynamic, module->span.bias, false, &symbols) || symbols.table == 0) return false;
    const struct heapsum_mapping_hooks *found =
        (const struct heapsum_mapping_hooks *)symbols_find(&symbols, "heapsum_mapping_hooks", SYMBOL_VARIABLE);
    if (found == NULL || found->version != BOOKING_VERSION) return false;
    *(const struct heapsum_mapping_hooks **)context = found;
    return true;
}

/*
 * Prepares the functions that map memory. Their hooks call libc's own, so a name that another module defines is left
 * alone. Unmapping comes first, as frees do: what is booked is seen going.
 */
static bool take_mappings(void) {
    const struct heapsum_mapping_hooks *library = NULL;
    loader_each(find_mapping_hooks, &library);
    if (library == NULL) return false;
    for (size_t i = MALLOC_COUNT; i < COUNT; i++) {
        struct redirection *one = &redirections[i];
        for (uint32_t k = 0; k < library->count; k++)
            if (strcmp(library->hooks[k].name, one->name) == 0) one->hook = library->hooks[k].hook;
        void *next_one = loader_libc(one->name);
        one->next = one->hook != NULL && next_one == loader_next(one->name) ? next_one : NULL;
        one->order = order_of(one->name);
        one->is_libcs = true;
    }
    library->use(&heapsum_booking);
    return true;
}

/*
 * C++'s operators: those of the first runtime serve all callers. Entries that are bound to another runtime's operators
 * are left alone; their blocks are booked when that runtime calls malloc.
 */
static void take_operators(void) {
    static const char *const names[] = {
#define NAME(name) #name,
        OPERATORS(NAME)};
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        void *function = loader_next(names[i]);
        next_operators[i].function = function;
        next_operators[i].brings_own =
            function != NULL && loader_start_of((uintptr_t)function) == loader_start_of((uintptr_t)next.malloc);
        if (function != NULL && !next_operators[i].brings_own) callers_know(&callers.runtime, (uintptr_t)function);
    }
}

/* ---- Settings -------------------------------------------------------------------------------------------- */

#define SETTINGS_MOST 24

/* Starts recording under the loader's lock, so that no module is unloaded meanwhile. */
struct beginning {
    char **env;
    bool begun;
    size_t count; /* how many of the redirections it needs */
};

static bool begin(const struct loader_module *module, void *context) {
    struct beginning *beginning = context;
    (void)module;
    if (!start_next()) return true;
    fill_in();
    if (next_operators[0].function == NULL) take_operators();
    beginning->begun = start_attached(beginning->env);
    if (beginning->begun && loader_is_late() && options.mappings && take_mappings()) beginning->count = COUNT;
    return true; /* one visit is enough: only the lock is needed */
}

static void answer_with(struct heapsum_attach_answer *answer, uint32_t result, const struct redirected *report) {
    answer->modules = report->modules;
    answer->entries = report->entries;
    answer->refused = report->refused;
    answer->passed = report->passed;
    answer->image = (uint64_t)(uintptr_t)image.base;
    answer->image_bytes = image.bytes;
    answer->result = result;
}

extern void heapsum_attach(const char *settings, struct heapsum_attach_answer *answer);
EXPORT void heapsum_attach(const char *settings, struct heapsum_attach_answer *answer) {
    int saved = errno;
    struct redirected report = {0};
    const char *env[SETTINGS_MOST + 1] = {NULL};
    for (size_t i = 0; i < SETTINGS_MOST && *settings != '\0'; i++, settings += strlen(settings) + 1) env[i] = settings;
    struct beginning beginning = {(char **)env, false, MALLOC_COUNT};
    if (answer->version != HEAPSUM_ATTACH_VERSION) {
        answer->result = HEAPSUM_ATTACH_OTHER;
        return;
    }
    if (hook_is_live() && image.header->pid == system_process()) {
        answer->result = HEAPSUM_ATTACH_RECORDED;
        return;
    }
    loader_each(begin, &beginning);
    if (!beginning.begun) {
        answer_with(
            answer, loader_has_glibc() && options.record ? HEAPSUM_ATTACH_NO_IMAGE : HEAPSUM_ATTACH_REFUSED, &report);
        errno = saved;
        return;
    }
    /* The calls of a program that was started with the library lead here already. */
    if (loader_is_late()) {
        late_start(redirections, beginning.count);
        redirect(redirections, beginning.count, false, &report);
    }
    answer_with(answer, HEAPSUM_ATTACH_DONE, &report);
    errno = saved;
}

extern void heapsum_detach(struct heapsum_attach_answer *answer);
EXPORT void heapsum_detach(struct heapsum_attach_answer *answer) {
    int saved = errno;
    struct redirected report = {0};
    if (answer->version != HEAPSUM_ATTACH_VERSION) {
        answer->result = HEAPSUM_ATTACH_OTHER;
        return;
    }
    bool was_recorded = start_detached();
    late_stop();
    /* Do this even if nothing is recorded: an interrupted attach may have left entries that lead here. A library that
     * was loaded with the program keeps its entries: the loader bound them, and they never led to the allocator. */
    if (loader_is_late() && next_known()) {
        fill_in();
        redirect(redirections, COUNT, true, &report);
    }
    answer_with(answer, was_recorded ? HEAPSUM_ATTACH_DONE : HEAPSUM_ATTACH_RECORDED, &report);
    errno = saved;
}
