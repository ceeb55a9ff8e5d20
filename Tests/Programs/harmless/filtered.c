/*
 * A program that forbids itself one system call on pain of death, and then forks a child that allocates (`fork`), grows
 * until a dump is due
 * (`grow`), or tries to start what is not there (`start`). Or a child does, before it allocates (`child`); with
 * `strict` all but a few are forbidden. Or it gives the kernel pointers that lead nowhere (`pointers`).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void forbid(unsigned number) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) exit(9);
}

int main(int count, char **arguments) {
    void *volatile kept = malloc(100);
    if (strcmp(arguments[1], "pointers") == 0) {
        char *entry[] = {(char *)1, NULL}, *words[] = {"sh", NULL};
        int one = execve("/bin/sh", words, (char **)1), first = errno, other = execve("/bin/sh", words, entry),
            second = errno;
        int filter = prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 1, 0, 0);
        return printf("%d %d, %d %d, %d\n", one, first == EFAULT, other, second == EFAULT, filter) < 0;
    }
    if (strcmp(arguments[1], "child") == 0 || strcmp(arguments[1], "strict") == 0) {
        int status;
        if (fork() == 0) {
            if (arguments[1][0] == 's') prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0);
            else forbid((unsigned)atoi(arguments[2]));
            for (int i = arguments[1][0] == 's' ? 1999 : 0; i < 2000; i++) kept = realloc(malloc(100), 200);
            syscall(SYS_exit, 3);
        }
        wait(&status);
        return write(1, WIFEXITED(status) && WEXITSTATUS(status) == 3 ? "ended\n" : "killed\n", 6) != 6;
    }
    forbid((unsigned)atoi(arguments[2]));
    if (strcmp(arguments[1], "start") == 0) {
        char *words[] = {"none", NULL};
        execv("/nonexistent/program", words);
        execv("/etc/hostname", words);
        return write(1, "on we go\n", 9) != 9;
    }
    if (strcmp(arguments[1], "fork") == 0) {
        int status;
        if (fork() == 0) {
            kept = malloc(200);
            _exit(3);
        }
        wait(&status);
        return write(1, WIFEXITED(status) && WEXITSTATUS(status) == 3 ? "ended\n" : "killed\n", 6) != 6;
    }
    for (int i = 0; i < 500; i++) kept = malloc(10000);
    return count == 3 && write(1, "grown\n", 6) == 6 ? 0 : 1;
}
