/*
 * Starting programs.
 */
#ifndef HEAPSUM_EXEC_HOOKS_H
#define HEAPSUM_EXEC_HOOKS_H

/* execve(2) and execveat(2), with errno. May be called between vfork and exec. */
int hook_execve(const char *path, char *const *arguments, char *const *env);
int exec_at(int directory, const char *path, char *const *arguments, char *const *env, int flags);

#endif
