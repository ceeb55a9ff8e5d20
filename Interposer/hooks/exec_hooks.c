/*
 * What a process starts next. Where this library can't be reached (a sandbox with a root or a /tmp of its own, another root, another user) the
 * loader would say on the program's stderr that it can't preload it, which is our doing: LD_PRELOAD is handed on without it. And a shared
 * AddressSanitizer would end the program for a library in front of it: it is told not to. In all other cases these functions are the
 * next ones, with what they were given.
 *
 * Called between vfork and exec, too: they write to their own stack alone.
 */
#include <errno.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/loader.h"
#include "base/next.h"
#include "base/options.h"
#include "base/symbols.h"
#include "base/system.h"
#include "process/start.h"
#include "threads/hook.h"

static const char variable[] = "LD_PRELOAD=";

static bool is_separator(char c) { return c == ':' || c == ' '; }

/* The length of the list's entry at `at`. */
static size_t entry_length(const char *at) {
    size_t length = 0;
    while (at[length] != '\0' && !is_separator(at[length])) length++;
    return length;
}

/* Whether an entry is the path of this library or of one of those beside it. */
static bool is_ours(const char *entry, size_t length) {
    static const char name[] = "libheapsum";
    const char *file = entry + length;
    while (file > entry && file[-1] != '/') file--;
    return file > entry && (size_t)(entry + length - file) >= sizeof name - 1 && memcmp(file, name, sizeof name - 1) == 0;
}

/*
 * Whether it is, and leads to nothing from here. What a filter of this process's would end the next program for, it asks for at its start: so the
 * library counts as out of reach then.
 */
static bool is_unreachable(const char *entry, size_t length) {
    char path[512];
    if (!is_ours(entry, length)) return false;
    if (!system_may_look() || !system_may_write()) return true;
    if (length >= sizeof path || memchr(entry, '$', length) != NULL) return false; /* $LIB and its kin are the loader's to fill in */
    memcpy(path, entry, length);
    path[length] = '\0';
    struct stat status;
    return system_stat(path, &status) < 0;
}

/*
 * What an environment needs before it is handed on: entries that are replaced, by their places; -1 where nothing is to be done. A shared AddressSanitizer
 * ends a program in which its library isn't the first, and it isn't behind a preload; the option that takes this as it is, is added where the
 * program's own options lack it (heaprun sets it where there are none).
 */
struct mending {
    ptrdiff_t preload, sanitizer;
};

static const char sanitizer[] = "ASAN_OPTIONS=", link_order[] = "verify_asan_link_order";

static bool names_ours(const char *list, bool *unreachable) {
    bool ours = false;
    size_t length;
    for (const char *at = list; *at != '\0'; at += length > 0 ? length : 1) {
        length = entry_length(at);
        if (length == 0 || !is_ours(at, length)) continue;
        ours = true;
        if (is_unreachable(at, length)) *unreachable = true;
    }
    return ours;
}

static struct mending mending_of(char *const *env) {
    struct mending mending = {-1, -1};
    if (env == NULL) return mending;
    bool unreachable = false, ours = false;
    for (ptrdiff_t i = 0;; i++) {
        /* What can't be read is the next function's to answer: the kernel says EFAULT. */
        if (!memory_is_readable((uintptr_t)&env[i])) return (struct mending){-1, -1};
        if (env[i] == NULL) break;
        if (!memory_is_readable((uintptr_t)env[i])) return (struct mending){-1, -1};
        if (strncmp(env[i], variable, sizeof variable - 1) == 0) {
            ours = names_ours(env[i] + sizeof variable - 1, &unreachable);
            if (unreachable) mending.preload = i;
        } else if (strncmp(env[i], sanitizer, sizeof sanitizer - 1) == 0 && memmem(env[i], strlen(env[i]), link_order, sizeof link_order - 1) == NULL) {
            mending.sanitizer = i;
        }
    }
    if (!ours || unreachable) mending.sanitizer = -1;
    return mending;
}

static size_t count_of(char *const *env) {
    size_t count = 0;
    while (env[count] != NULL) count++;
    return count;
}

/* Writes the variable without what is unreachable. */
static void write_reachable(const char *from, char *to) {
    memcpy(to, variable, sizeof variable - 1);
    to += sizeof variable - 1;
    char *start = to;
    size_t length;
    for (const char *at = from + sizeof variable - 1; *at != '\0'; at += length > 0 ? length : 1) {
        length = entry_length(at);
        if (length == 0 || is_unreachable(at, length)) continue;
        if (to > start) *to++ = ':';
        memcpy(to, at, length);
        to += length;
    }
    *to = '\0';
}

/* Writes the sanitizer's options with one more. */
static void write_options(const char *from, char *to) {
    size_t length = strlen(from);
    memcpy(to, from, length);
    if (from[length - 1] != '=') to[length++] = ':';
    memcpy(to + length, link_order, sizeof link_order - 1);
    memcpy(to + length + sizeof link_order - 1, "=0", 3);
}

/* The environment to hand on, in the caller's own frame where it differs: `env` itself nearly always. */
#define MENDED(env) \
    struct mending mending = {-1, -1}; \
    if (start_next()) mending = mending_of(env); \
    const bool mends = mending.preload >= 0 || mending.sanitizer >= 0; \
    char *mended[mends ? count_of(env) + 1 : 1]; \
    char list[mending.preload >= 0 ? strlen((env)[mending.preload]) + 1 : 1]; \
    char extended[mending.sanitizer >= 0 ? strlen((env)[mending.sanitizer]) + sizeof link_order + 3 : 1]; \
    if (mends) memcpy(mended, (env), (count_of(env) + 1) * sizeof *mended); \
    if (mending.sanitizer >= 0) { \
        write_options((env)[mending.sanitizer], extended); \
        mended[mending.sanitizer] = extended; \
    } \
    if (mending.preload >= 0) { \
        write_reachable((env)[mending.preload], list); \
        mended[mending.preload] = list; \
        if (load_acquire(&hook_live.word) != 0) or_relaxed(&image.header->flags, HEAP_FLAG_UNREACHED); \
        message("not recorded, as the library can't be reached from where it runs: ", path); \
    }

/* Where nobody is next in line. */
static int nobody(void) {
    if (next_known()) errno = ENOSYS;
    return -1;
}

EXPORT int execve(const char *path, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.execve == NULL ? nobody() : next.execve(path, arguments, mends ? mended : env);
}

EXPORT int execvpe(const char *path, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.execvpe == NULL ? nobody() : next.execvpe(path, arguments, mends ? mended : env);
}

EXPORT int fexecve(int fd, char *const *arguments, char *const *env) {
    const char *path = "an open file";
    MENDED(env);
    return next.fexecve == NULL ? nobody() : next.fexecve(fd, arguments, mends ? mended : env);
}

/* With the program's own environment, and the search of the path where that is asked for. */
static int execute(const char *path, char *const *arguments, bool search) {
    char **env = loader_environment();
    MENDED(env);
    if (mends && next.execve != NULL && next.execvpe != NULL) return (search ? next.execvpe : next.execve)(path, arguments, mended);
    int (*function)(const char *, char *const *) = search ? next.execvp : next.execv;
    return function == NULL ? nobody() : function(path, arguments);
}
EXPORT int execv(const char *path, char *const *arguments) { return execute(path, arguments, false); }
EXPORT int execvp(const char *path, char *const *arguments) { return execute(path, arguments, true); }

/* Arguments that follow one another in the call become a list, as libc makes it. */
#define LISTED(first, behind) \
    va_list rest; \
    size_t count = 1; \
    va_start(rest, first); \
    for (const char *at = (first); at != NULL; at = va_arg(rest, const char *)) count++; \
    va_end(rest); \
    char *arguments[count + 1]; \
    va_start(rest, first); \
    arguments[0] = (char *)(first); \
    for (size_t i = 0; arguments[i] != NULL; i++) arguments[i + 1] = va_arg(rest, char *); \
    behind; \
    va_end(rest)

EXPORT int execl(const char *path, const char *argument, ...) {
    LISTED(argument, );
    return execute(path, arguments, false);
}
EXPORT int execlp(const char *path, const char *argument, ...) {
    LISTED(argument, );
    return execute(path, arguments, true);
}
EXPORT int execle(const char *path, const char *argument, ...) {
    char *const *env;
    LISTED(argument, env = va_arg(rest, char *const *));
    MENDED(env);
    return next.execve == NULL ? nobody() : next.execve(path, arguments, mends ? mended : env);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.posix_spawn == NULL ? ENOSYS : next.posix_spawn(pid, path, actions, attributes, arguments, mends ? mended : env);
}
EXPORT int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.posix_spawnp == NULL ? ENOSYS : next.posix_spawnp(pid, path, actions, attributes, arguments, mends ? mended : env);
}
