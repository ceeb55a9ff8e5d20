/*
 * Recording that comes and goes while the program runs.
 *
 * The order is what makes it safe. Attaching: the image is made and recording is on before the first entry is
 * redirected, frees before allocations. Detaching: recording is off before the first entry is put back. At any instant
 * between, each call reaches the allocator, by way of a hook or straight; and a block that was booked is seen to go, or
 * nothing is booked any more.
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
#include "base/system.h"
#include "hooks/interposed.h"
#include "hooks/late.h"
#include "hooks/redirect.h"
#include "image/image.h"
#include "process/start.h"
#include "threads/hook.h"

/* Exported names may be bound to libc's here, so their addresses come from our own table of symbols; the others are
 * reached past the jump of passing.c, as an entry that leads to the next function leaves nothing to be settled. */
#define PLAIN(name) {#name, NULL, NULL, 0},
#define BEHIND_JUMP(name) extern char hook_##name[];
INTERPOSED_C_LESS_COMMON(BEHIND_JUMP)
extern char hook_cfree[], hook_mlockall[], hook_prctl[], hook_syscall[], hook_dlclose[], hook_dlsym[];

static struct redirection redirections[] = {
    INTERPOSED_C(PLAIN) INTERPOSED_C_LESS_COMMON(PLAIN) INTERPOSED_NEW(PLAIN) INTERPOSED_DELETE(PLAIN)
    /* What would harm the recording, or through it the program. */
    PLAIN(cfree) PLAIN(mlockall) PLAIN(prctl) PLAIN(syscall) PLAIN(dlclose) PLAIN(dlsym)};
#define COUNT (sizeof redirections / sizeof redirections[0])

/* When a name's turn comes: redirect.h. */
static uint32_t order_of(const char *name) {
    static const char makers[][16] = {
        "malloc", "calloc", "posix_memalign", "memalign", "aligned_alloc", "valloc", "pvalloc"};
    if (strncmp(name, "realloc", 7) == 0) return 1;
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(makers[i], name) == 0) return 2;
    return strncmp(name, "_Zn", 3) == 0 ? 2 : 0; /* operator new */
}

static void *hook_of(const char *name) {
#define MATCH(name_) \
    if (strcmp(name, #name_) == 0) return hook_##name_;
    INTERPOSED_C_LESS_COMMON(MATCH)
    MATCH(cfree) MATCH(mlockall) MATCH(prctl) MATCH(syscall) MATCH(dlclose) MATCH(dlsym) return loader_own(name);
}

/* Finds what each name leads to without us: the first in the order of the loader's list. */
static void fill_in(void) {
    static bool filled;
    if (filled) return;
    filled = true;
    for (size_t i = 0; i < COUNT; i++) {
        struct redirection *one = &redirections[i];
        one->next = loader_next(one->name);
        one->hook = hook_of(one->name);
        one->order = order_of(one->name);
    }
}

/*
 * C++'s operators: the first runtime's, for all who call them. What is bound to another runtime's stays with it, and
 * its blocks are booked as it calls malloc.
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

/* Begins what must not be begun while modules go: under the loader's lock. */
struct beginning {
    char **env;
    bool begun;
};

static bool begin(const struct loader_module *module, void *context) {
    struct beginning *beginning = context;
    (void)module;
    if (!start_next()) return true;
    fill_in();
    if (next_operators[0].function == NULL) take_operators();
    beginning->begun = start_attached(beginning->env);
    return true; /* one visit is enough: it is for the lock alone */
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
    struct beginning beginning = {(char **)env, false};
    if (answer->version != HEAPSUM_ATTACH_VERSION) {
        answer->result = HEAPSUM_ATTACH_OTHER;
        return;
    }
    if (load_acquire(&hook_live.word) != 0 && image.header->pid == system_process()) {
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
    late_start(redirections, COUNT);
    redirect(redirections, COUNT, false, &report);
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
    /* Even where nothing is recorded: an attach that was cut off may have left entries that lead here. A library that
     * came with the program keeps them: they are the loader's doing, and were never the allocator's. */
    if (loader_is_late() && next_known()) {
        fill_in();
        redirect(redirections, COUNT, true, &report);
    }
    answer_with(answer, was_recorded ? HEAPSUM_ATTACH_DONE : HEAPSUM_ATTACH_RECORDED, &report);
    errno = saved;
}
