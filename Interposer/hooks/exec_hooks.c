/*
 * What a process starts next, in a place where this library can't be reached: a sandbox with a root or a /tmp of its own, another root, another
 * user. The loader would say on the program's stderr that it can't preload it, which is our doing; so LD_PRELOAD is handed on without it then.
 * In all other cases these functions are the next ones, with what they were given.
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

#include "hook.h"
#include "loader.h"
#include "next.h"
#include "options.h"
#include "start.h"
#include "system.h"

static const char variable[] = "LD_PRELOAD=";

static bool is_separator(char c) { return c == ':' || c == ' '; }

/* The length of the list's entry at `at`. */
static size_t entry_length(const char *at) {
    size_t length = 0;
    while (at[length] != '\0' && !is_separator(at[length])) length++;
    return length;
}

/* Whether an entry is this library or one of those beside it, by a path that leads to nothing from here. */
static bool is_unreachable(const char *entry, size_t length) {
    static const char name[] = "libheapsum";
    const char *file = entry + length;
    while (file > entry && file[-1] != '/') file--;
    if (file == entry || (size_t)(entry + length - file) < sizeof name - 1 || memcmp(file, name, sizeof name - 1) != 0) return false;
    char path[512];
    if (length >= sizeof path) return false;
    memcpy(path, entry, length);
    path[length] = '\0';
    struct stat status;
    return system_stat(path, &status) < 0;
}

/* The place of LD_PRELOAD in an environment, where an entry of ours in it is unreachable; -1 where there is nothing to do. */
static ptrdiff_t preload_to_mend(char *const *env) {
    if (env == NULL || !system_may_look()) return -1;
    for (ptrdiff_t i = 0; env[i] != NULL; i++) {
        if (strncmp(env[i], variable, sizeof variable - 1) != 0) continue;
        size_t length;
        for (const char *at = env[i] + sizeof variable - 1; *at != '\0'; at += length > 0 ? length : 1) {
            length = entry_length(at);
            if (length > 0 && is_unreachable(at, length)) return i;
        }
        return -1;
    }
    return -1;
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

/* The environment to hand on, in the caller's own frame where it differs: `env` itself nearly always. */
#define MENDED(env) \
    ptrdiff_t preload = start_next() ? preload_to_mend(env) : -1; \
    char *mended[preload >= 0 ? count_of(env) + 1 : 1], list[preload >= 0 ? strlen((env)[preload]) + 1 : 1]; \
    if (preload >= 0) { \
        memcpy(mended, (env), (count_of(env) + 1) * sizeof *mended); \
        write_reachable((env)[preload], list); \
        mended[preload] = list; \
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
    return next.execve == NULL ? nobody() : next.execve(path, arguments, preload >= 0 ? mended : env);
}

EXPORT int execvpe(const char *path, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.execvpe == NULL ? nobody() : next.execvpe(path, arguments, preload >= 0 ? mended : env);
}

EXPORT int fexecve(int fd, char *const *arguments, char *const *env) {
    const char *path = "an open file";
    MENDED(env);
    return next.fexecve == NULL ? nobody() : next.fexecve(fd, arguments, preload >= 0 ? mended : env);
}

/* With the program's own environment, and the search of the path where that is asked for. */
static int execute(const char *path, char *const *arguments, bool search) {
    char **env = loader_environment();
    MENDED(env);
    if (preload >= 0 && next.execve != NULL && next.execvpe != NULL) return (search ? next.execvpe : next.execve)(path, arguments, mended);
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
    return next.execve == NULL ? nobody() : next.execve(path, arguments, preload >= 0 ? mended : env);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.posix_spawn == NULL ? ENOSYS : next.posix_spawn(pid, path, actions, attributes, arguments, preload >= 0 ? mended : env);
}
EXPORT int posix_spawnp(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const *arguments, char *const *env) {
    MENDED(env);
    return next.posix_spawnp == NULL ? ENOSYS : next.posix_spawnp(pid, path, actions, attributes, arguments, preload >= 0 ? mended : env);
}
