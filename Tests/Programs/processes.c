/*
 * A parent and its children, each leaking a number of blocks of its own in leak_here(): the parent 10; a forked child
 * 7; one that execs this program anew 5; a vfork'd child 3, which are the parent's; a raw clone 4; one that execs at
 * once nothing. Prints "ROLE PID" for each.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile kept[64];
static volatile int kept_count;

__attribute__((noinline)) static void leak_here(int count) {
    for (int i = 0; i < count; i++) kept[kept_count++ % 64] = malloc(200);
}

static void say(const char *role, pid_t pid) {
    char line[64];
    int length = snprintf(line, sizeof line, "%s %d\n", role, (int)pid);
    if (write(1, line, (size_t)length) != length) _exit(9);
}

static void reap(pid_t pid) {
    int status;
    while (waitpid(pid, &status, __WALL) != pid) {}
}

int main(int count, char **arguments) {
    (void)arguments;
    if (count > 1) {
        leak_here(5);
        say("exec", getpid());
        return 0;
    }
    void *volatile before = malloc(300); /* the child frees what it inherited */
    leak_here(10);
    say("parent", getpid());
    pid_t pid = fork();
    if (pid == 0) {
        leak_here(7);
        free(before);
        say("fork", getpid());
        _exit(0);
    }
    reap(pid);
    if ((pid = fork()) == 0) {
        execl("/proc/self/exe", "processes", "again", (char *)NULL);
        _exit(8);
    }
    reap(pid);
    if ((pid = vfork()) == 0) {
        leak_here(3);
        _exit(0);
    }
    reap(pid);
    if ((pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)) == 0) {
        leak_here(4);
        say("clone", (pid_t)syscall(SYS_getpid));
        _exit(0);
    }
    reap(pid);
    if ((pid = fork()) == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(8);
    }
    say("true", pid);
    reap(pid);
    return 0;
}
