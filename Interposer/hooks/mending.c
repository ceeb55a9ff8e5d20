/*
 * Removing this library from LD_PRELOAD.
 */
#include "hooks/mending.h"

#include <fcntl.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "image/image.h"
#include "threads/hook.h"

static const char variable[] = "LD_PRELOAD=";
static const char sanitizer[] = "ASAN_OPTIONS=", link_order[] = "verify_asan_link_order";

/* ---- The list ----------------------------------------------------------------------------------------- */

/* The length of the list's entry at `at`, up to `end`: entries are separated by colons or spaces. */
static size_t entry_length(const char *at, const char *end) {
    size_t length = 0;
    while (at + length < end && at[length] != '\0' && at[length] != ':' && at[length] != ' ') length++;
    return length;
}

/* Whether an entry is the path of this library, under any name, or of a library beside it. */
static bool is_ours(const char *entry, size_t length) {
    static const char name[] = "libheapsum";
    const char *own = loader_own_path();
    if (own != NULL && strlen(own) == length && memcmp(own, entry, length) == 0) return true;
    const char *file = entry + length;
    while (file > entry && file[-1] != '/') file--;
    return file > entry && (size_t)(entry + length - file) >= sizeof name - 1
        && memcmp(file, name, sizeof name - 1) == 0;
}

/* Whether a readable file is at the path. It is not opened: closing it would drop the process's locks on it. */
static bool can_be_read(const char *path) {
    struct stat status;
    return system_stat(path, &status) == 0 && S_ISREG(status.st_mode) && system_access_at(AT_FDCWD, path, R_OK) == 0;
}

/*
 * Whether an entry is ours and can't be loaded by the next program. If this process's seccomp filter would end a
 * program for a call that our start makes, the library counts as unreachable too.
 */
static bool is_unreachable(const char *entry, size_t length) {
    char path[512];
    if (!is_ours(entry, length)) return false;
    if (!system_may_look() || !system_may_write()) return true;
    /* the loader expands $LIB and the like */
    if (length >= sizeof path || memchr(entry, '$', length) != NULL) return false;
    memcpy(path, entry, length);
    path[length] = '\0';
    return !can_be_read(path);
}

/* Whether a list, up to `end`, names us; sets *unreachable if one of its entries can't be loaded. */
static bool names_ours(const char *list, const char *end, bool *unreachable) {
    bool ours = false;
    for (const char *at = list; at < end;) {
        size_t length = entry_length(at, end);
        if (length > 0 && is_ours(at, length)) {
            ours = true;
            if (is_unreachable(at, length)) *unreachable = true;
        }
        at += length > 0 ? length : 1;
    }
    return ours;
}

/* Removes our entries from the variable's text, in place. */
static void take_out_ours(char *text, size_t bytes) {
    const char *end = text + bytes;
    char *start = text + sizeof variable - 1, *to = start;
    for (const char *at = start; at < end;) {
        size_t length = entry_length(at, end);
        if (length > 0 && !is_ours(at, length)) {
            if (to > start) *to++ = ':';
            memmove(to, at, length);
            to += length;
        }
        at += length > 0 ? length : 1;
    }
    *to = '\0';
}

/* Writes the sanitizer's options with one added. Returns the bytes written, with the NUL. */
static size_t write_options(const struct mended_entry *from, char *to) {
    size_t length = from->length;
    memcpy(to, from->text, length);
    if (to[length - 1] != '=') to[length++] = ':';
    memcpy(to + length, link_order, sizeof link_order - 1);
    memcpy(to + length + sizeof link_order - 1, "=0", 3);
    return length + sizeof link_order + 2;
}
#define OPTION_BYTES (sizeof link_order + 3) /* the most that the option adds, with the NUL */

/* ---- An environment ------------------------------------------------------------------------------------ */

static bool begins_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

#define ENTRY_MOST (2u << 20) /* bytes of an entry: the kernel refuses longer ones (MAX_ARG_STRLEN is 128 KB) */

/* Finds the entries that matter; false if the environment can't be read, which the next function will report. */
static bool find_entries(char *const *env, struct mending *mending) {
    struct memory_looks looks = {0};
    for (;; mending->count++) {
        if (!memory_looked_at(&looks, (uintptr_t)&env[mending->count])) return false;
        const char *entry = load_relaxed(&env[mending->count]);
        if (entry == NULL) return true;
        if (!memory_looked_at(&looks, (uintptr_t)entry)) return false;
        /* The first bytes may lie in two pages. */
        if (!memory_looked_at(&looks, (uintptr_t)entry + sizeof sanitizer)
            && memchr(entry, '\0', HEAP_PAGE_BYTES - (uintptr_t)entry % HEAP_PAGE_BYTES) == NULL)
            return false;
        struct mended_entry *found = begins_with(entry, variable) ? &mending->preload
            : begins_with(entry, sanitizer)                       ? &mending->sanitizer
                                                                  : NULL;
        if (found == NULL) continue;
        found->place = (ptrdiff_t)mending->count;
        found->text = entry;
        if (!memory_string_length(entry, ENTRY_MOST, &found->length)) return false;
    }
}

struct mending mending_of(char *const *env, const struct started *started) {
    const struct mending nothing = {.preload.place = -1, .sanitizer.place = -1};
    struct mending mending = nothing;
    struct mended_entry *preload = &mending.preload, *options_entry = &mending.sanitizer;
    bool unreachable = false;
    if (env == NULL || !find_entries(env, &mending) || preload->place < 0) return nothing;
    const char *list = preload->text + sizeof variable - 1, *end = preload->text + preload->length;
    if (list > end || !names_ours(list, end, &unreachable)) return nothing;
    bool foreign = !unreachable && foreign_program(started);
    bool goes = unreachable || foreign;
    bool has_option = options_entry->place >= 0
        && memmem(options_entry->text, options_entry->length, link_order, sizeof link_order - 1) != NULL;
    if (goes || has_option) options_entry->place = -1;
    if (!goes) preload->place = -1;
    if (!goes && options_entry->place < 0) return nothing;
    mending.bytes = (mending.count + 1) * sizeof *env;
    if (goes) mending.bytes += preload->length + 1;
    if (options_entry->place >= 0) mending.bytes += options_entry->length + OPTION_BYTES;
    if (goes) {
        if (hook_is_live()) or_relaxed(&image.header->flags, HEAP_FLAG_UNREACHED);
        message(foreign ? "not recorded, as it is a program for another processor: "
                        : "not recorded, as the library can't be reached from where it runs: ",
            started->path == NULL || started->path[0] == '\0' ? "an open file" : started->path);
    }
    return mending;
}

char *const *mend(char *const *env, const struct mending *mending, void *space) {
    const char **mended = space;
    char *texts = (char *)(mended + mending->count + 1);
    for (size_t i = 0; i < mending->count; i++) mended[i] = load_relaxed(&env[i]);
    mended[mending->count] = NULL;
    if (mending->sanitizer.place >= 0) {
        mended[mending->sanitizer.place] = texts;
        texts += write_options(&mending->sanitizer, texts);
    }
    if (mending->preload.place >= 0) {
        const char **entry = &mended[mending->preload.place];
        memcpy(texts, mending->preload.text, mending->preload.length);
        take_out_ours(texts, mending->preload.length);
        /* If we were its only entry, the variable would not exist without us. */
        if (texts[sizeof variable - 1] != '\0') *entry = texts;
        else memmove(entry, entry + 1, (size_t)(&mended[mending->count] - entry) * sizeof *entry);
    }
    return (char *const *)mended;
}

void mend_in_place(char **env) {
    struct mending mending = mending_of(env, &(struct started){"/bin/sh", AT_FDCWD, false});
    if (mending.preload.place < 0) return;
    char *text = (char *)mending.preload.text;
    if (!system_may_look()) return; /* it takes a system call to find out whether it may be written to */
    if (system_touch((void *)((uintptr_t)text & ~(uintptr_t)3)) >= 0) take_out_ours(text, mending.preload.length);
}
