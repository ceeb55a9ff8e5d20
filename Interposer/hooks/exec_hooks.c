/*
 * Starting programs. If the environment has to be changed (mending.h), the next function gets the changed one;
 * otherwise it gets its arguments as they are.
 *
 * These functions may run between vfork and exec, so they write only to their own stack. A changed environment that is
 * too large for a thread's stack gets a mapping of its own, which a vfork's child leaves to its parent.
 */
#include "hooks/exec_hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/loader.h"
#include "base/next.h"
#include "base/system.h"
#include "hooks/mending.h"
#include "process/leaving.h"
#include "process/signals.h"
#include "process/start.h"
#include "threads/hook.h"

#define MOST_ON_STACK 1024 /* bytes of a changed environment */

struct mapped {
    void *start;
    size_t bytes;
};
static void unmap(const struct mapped *mapped) {
    if (mapped->start != NULL) system_unmap(mapped->start, mapped->bytes);
}

/* `handed` is the environment to pass on, nearly always `env` itself. It lives as long as the caller's frame. */
#define MENDED(env, ...) \
    const struct started started = {__VA_ARGS__}; \
    struct mending mending = {0}; \
    if (start_next()) mending = mending_of((env), &started); \
    char *near[mending.bytes <= MOST_ON_STACK ? mending.bytes / sizeof(char *) + 1 : 1]; \
    __attribute__((cleanup(unmap))) struct mapped far = {NULL, mending.bytes}; \
    if (mending.bytes > MOST_ON_STACK) far.start = system_map_memory(mending.bytes); \
    void *const space = mending.bytes <= MOST_ON_STACK ? near : far.start; \
    char *const *const handed = mending.bytes > 0 && space != NULL ? mend((env), &mending, space) : (env)

/* A call that replaces the program or starts another, and its result. */
#define STARTING(call) \
    ({ \
        bool handed_on = signals_hand_on(); \
        int answer = (call); \
        int saved = errno; \
        signals_take_back(handed_on); \
        errno = saved; \
        answer; \
    })

/* The result if there is no next function. */
static int nobody(void) {
    if (next_known()) errno = ENOSYS;
    return -1;
}

int hook_execve(const char *path, char *const *arguments, char *const *env) {
    MENDED(env, path, AT_FDCWD, false);
    leaving_by_exec();
    return next.execve == NULL ? nobody() : STARTING(next.execve(path, arguments, handed));
}

HOOK int hook_execvpe(const char *path, char *const *arguments, char *const *env) {
    MENDED(env, path, AT_FDCWD, true);
    leaving_by_exec();
    return next.execvpe == NULL ? nobody() : STARTING(next.execvpe(path, arguments, handed));
}

HOOK int hook_fexecve(int fd, char *const *arguments, char *const *env) {
    MENDED(env, "", fd, false);
    leaving_by_exec();
    return next.fexecve == NULL ? nobody() : STARTING(next.fexecve(fd, arguments, handed));
}

HOOK int hook_execveat(int directory, const char *path, char *const *arguments, char *const *env, int flags) {
    MENDED(env, path, directory, false);
    leaving_by_exec();
    return next.execveat == NULL ? nobody() : STARTING(next.execveat(directory, path, arguments, handed, flags));
}

int exec_at(int directory, const char *path, char *const *arguments, char *const *env, int flags) {
    MENDED(env, path, directory, false);
    leaving_by_exec();
    return STARTING((int)next.syscall(SYS_execveat, directory, (long)path, (long)arguments, (long)handed, flags, 0));
}

/* Executes with the program's own environment; with `search`, looks for the file in PATH. */
static int execute(const char *path, char *const *arguments, bool search) {
    char **env = loader_environment();
    MENDED(env, path, AT_FDCWD, search);
    leaving_by_exec();
    if (handed != env && next.execve != NULL && next.execvpe != NULL)
        return STARTING((search ? next.execvpe : next.execve)(path, arguments, handed));
    int (*function)(const char *, char *const *) = search ? next.execvp : next.execv;
    return function == NULL ? nobody() : STARTING(function(path, arguments));
}
HOOK int hook_execv(const char *path, char *const *arguments) { return execute(path, arguments, false); }
HOOK int hook_execvp(const char *path, char *const *arguments) { return execute(path, arguments, true); }

/* Makes an array of a variadic call's arguments, as libc does. */
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

HOOK int hook_execl(const char *path, const char *argument, ...) {
    LISTED(argument, );
    return execute(path, arguments, false);
}
HOOK int hook_execlp(const char *path, const char *argument, ...) {
    LISTED(argument, );
    return execute(path, arguments, true);
}
HOOK int hook_execle(const char *path, const char *argument, ...) {
    char *const *env;
    LISTED(argument, env = va_arg(rest, char *const *));
    MENDED(env, path, AT_FDCWD, false);
    leaving_by_exec();
    return next.execve == NULL ? nobody() : STARTING(next.execve(path, arguments, handed));
}

/* posix_spawn and posix_spawnp, in the current symbol version and the old one. */
#define SPAWN(name, search) \
    HOOK int hook_##name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, \
        const posix_spawnattr_t *attributes, char *const *arguments, char *const *env) { \
        /* File actions may change the working directory, and with it what a relative path means. */ \
        bool is_sure = actions == NULL || path == NULL || path[0] == '/' || search; \
        MENDED(env, is_sure ? path : NULL, AT_FDCWD, search); \
        return next.name == NULL ? ENOSYS : STARTING(next.name(pid, path, actions, attributes, arguments, handed)); \
    }
SPAWN(posix_spawn, false)
SPAWN(posix_spawnp, true)
SPAWN(old_posix_spawn, false)
SPAWN(old_posix_spawnp, true)

/* libc starts the shell itself, with the process's environment. */
HOOK int hook_system(const char *command) {
    if (start_next()) mend_in_place(loader_environment());
    return next.system == NULL ? nobody() : next.system(command);
}
HOOK FILE *hook_popen(const char *command, const char *mode) {
    if (start_next()) mend_in_place(loader_environment());
    return next.popen == NULL ? (nobody(), NULL) : next.popen(command, mode);
}
