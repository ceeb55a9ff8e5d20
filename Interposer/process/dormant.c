/*
 * The table by which heaprun asks a dormant process to record. heaprun writes it from outside, so nothing in it is
 * trusted: the settings end within the table, and their sum holds.
 */
#include "process/dormant.h"

#include <string.h>

#include "base/atomics.h"
#include "base/options.h"
#include "image/image.h"
#include "threads/hook.h"

extern struct heapsum_control heapsum_control;
EXPORT struct heapsum_control heapsum_control;
/* By this name the loader binds nothing, and no program can come in between. */
extern struct heapsum_control dormant_control __attribute__((alias("heapsum_control"), visibility("hidden")));
bool dormant;
uint32_t dormant_locks_all;

static char settings[HEAPSUM_SETTINGS_BYTES]; /* written by heaprun */
static struct options own;                    /* the process's own options, once others have taken their place */
static bool is_kept;

void dormant_begin(void) {
    dormant_control.word = (uint64_t)(uintptr_t)&hook_live.word;
    dormant_control.settings = (uint64_t)(uintptr_t)settings;
    dormant_control.asleep = HOOK_ASLEEP;
    dormant_control.asked = HOOK_ASKED;
    store_release(&dormant_control.version, HEAPSUM_CONTROL_VERSION); /* partner: heaprun, which reads it first */
    dormant = true;
}

void dormant_may_be_asked(bool may) { store_release(&dormant_control.may_be_asked, may); }

char **dormant_settings(const char **env, size_t most) {
    struct heapsum_control *control = &dormant_control;
    uint64_t sum = heapsum_control_sum(settings, load_acquire(&control->request));
    if (sum != load_relaxed(&control->sum)) return NULL;
    const char *at = settings, *end = at + sizeof settings - 1;
    size_t count = 0;
    for (; count < most && at < end && *at != '\0'; at += strnlen(at, (size_t)(end - at)) + 1) env[count++] = at;
    env[count] = NULL;
    return (char **)env;
}

void dormant_keep_options(void) {
    if (is_kept) return;
    own = options;
    is_kept = true;
}

void dormant_options(void) {
    if (is_kept) options = own;
}

void dormant_answer(uint32_t result) {
    struct heapsum_control *control = &dormant_control;
    uint32_t request = load_acquire(&control->request);
    if (request == load_relaxed(&control->answered)) return;
    control->image = (uint64_t)(uintptr_t)image.base;
    control->result = result;
    store_release(&control->answered, request); /* partner: heaprun, which reads it first */
}
