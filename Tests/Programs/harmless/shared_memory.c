/*
 * A child of vfork has its parent's memory: what it does to signals (`signals`) and to system calls (`filter`) is its
 * own. And the environment, which one thread changes while another starts programs (`environment`).
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static volatile int got;
static void on_signal(int number) { got += number > 0; }

static void show(const char *when) {
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    printf("%s: %s %x\n", when,
        now.sa_handler == SIG_DFL         ? "default"
            : now.sa_handler == SIG_IGN   ? "ignored"
            : now.sa_handler == on_signal ? "own"
                                          : "other",
        (unsigned)now.sa_flags & ~0x04000000u);
    fflush(stdout);
}

static void ignore_one(void) { signal(SIGUSR2, SIG_IGN); }
static void reset_all(void) {
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
}
static void forbid_mincore(void) {
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mincore, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof *steps, steps};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void start(void (*prepare)(void)) {
    int status = 0;
    pid_t child = vfork();
    if (child == 0) {
        prepare();
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(child, &status, 0);
    printf("child %x\n", (unsigned)status);
    fflush(stdout);
}

static void signal_me(void) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        kill(parent, SIGUSR2);
        _exit(0);
    }
    while (waitpid(child, NULL, 0) < 0) {}
    printf("got %d\n", got);
}

static void signals(void) {
    show("at first");
    start(ignore_one);
    show("behind a child that ignored it");
    signal(SIGUSR2, on_signal);
    show("mine");
    start(reset_all);
    show("behind a child that reset all");
    signal_me();
    struct sigaction kept, ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGUSR2, &ignored, &kept);
    sigaction(SIGUSR2, &kept, NULL);
    signal_me();
}

static volatile int stop;
static void *change(void *context) {
    char name[20];
    for (int i = 0; !stop; i++) {
        snprintf(name, sizeof name, "V%d", i % 50);
        if (i % 3 != 0) setenv(name, "a value that is not short", 1);
        else unsetenv(name);
    }
    return context;
}
static void environment(void) {
    pthread_t thread;
    char *words[] = {"true", NULL};
    pthread_create(&thread, NULL, change, NULL);
    for (int i = 0; i < 200; i++) {
        pid_t child;
        /* What was changed in the middle of it may be no environment: then the kernel refuses. */
        if (posix_spawn(&child, "/bin/true", NULL, NULL, words, environ) == 0) waitpid(child, NULL, 0);
    }
    stop = 1;
    pthread_join(thread, NULL);
    puts("ended");
}

void *volatile kept[200];
int main(int count, char **arguments) {
    for (int i = 0; i < 100; i++) kept[i] = malloc(10);
    if (count > 1 && strcmp(arguments[1], "signals") == 0) signals();
    else if (count > 1 && strcmp(arguments[1], "environment") == 0) environment();
    else start(forbid_mincore);
    for (int i = 100; i < 200; i++) kept[i] = malloc(10);
    return 0;
}
