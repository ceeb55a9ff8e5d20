/*
 * dlsym, in a program to which heaprun attached.
 *
 * After dlopen a program nearly always calls dlsym, so new modules are found and redirected here. dlopen itself can't
 * be hooked: it uses its return address to find its caller's library, whose search path and namespace it takes, so the
 * program's own code must call it. An allocation's hook can't do it either: it must not wait for the loader's lock.
 *
 * dlsym also depends on its caller, so the stub jumps to the program's own dlsym, except for the names that are
 * redirected. For these the answer is the hook if dlsym would return the next function. RTLD_NEXT depends on the
 * caller's place in the search order, and always goes to dlsym.
 */
#include "hooks/late.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"
#include "hooks/stub.h"
#include "threads/hook.h"

static const struct redirection *known;
static size_t known_count;
static uint64_t seen; /* loader_modules_number at the last walk; 0: a module was not ready */
static uint32_t is_on, walking;

/* The function that the stub jumps to. */
__attribute__((visibility("hidden"))) void *(*late_next_dlsym)(void *, const char *);

static void look_at_new_modules(void) {
    uint64_t now = loader_modules_number();
    uint32_t nobody = 0;
    if (now == load_relaxed(&seen) || !cas_acq_rel(&walking, &nobody, 1)) return;
    struct redirected report;
    redirect(known, known_count, false, &report);
    store_relaxed(&seen, report.late == 0 ? now : 0);
    /* Detached meanwhile: restore the entries that this walk redirected. */
    if (!load_acquire(&is_on)) redirect(known, known_count, true, &report);
    store_release(&walking, 0);
}

void late_start(const struct redirection *redirections, size_t count) {
    known = redirections;
    known_count = count;
    for (size_t i = 0; i < count; i++)
        if (strcmp(redirections[i].name, "dlsym") == 0) *(void **)&late_next_dlsym = redirections[i].next;
    store_relaxed(&seen, loader_modules_number());
    store_release(&is_on, 1); /* partner: look_at_new_modules */
}

void late_stop(void) { store_release(&is_on, 0); }

/* The address that dlsym must return; NULL: call the program's dlsym. Called by the stub. */
__attribute__((used, visibility("hidden"))) void *late_look(void *handle, const char *name);
void *late_look(void *handle, const char *name) {
    if (!load_acquire(&is_on) || hook_memory_is_borrowed()) return NULL;
    int saved = errno;
    void *answer = NULL;
    look_at_new_modules();
    for (size_t i = 0; handle != RTLD_NEXT && name != NULL && i < known_count; i++) {
        if (known[i].next == NULL || strcmp(known[i].name, name) != 0) continue;
        if (late_next_dlsym(handle, name) == known[i].next) answer = known[i].hook;
    }
    errno = saved;
    return answer;
}
LATE_DLSYM
