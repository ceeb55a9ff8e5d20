/*
 * A program that a clone would harm: it would be killed for one (main, thread: which of its threads has the filter), or
 * its next child begins a PID namespace (namespace), which ends with that child. SIGTERM ends it: in the last case
 * after a fork, with the status 3 if it failed.
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void *volatile kept;

static __attribute__((noinline)) void lose(void) {
    kept = calloc(1, 1234);
    kept = calloc(1, 4321);
}

static void take_filter(void) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {4, program};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) _exit(1);
}

static pthread_barrier_t filtered;
static void *run(void *none) {
    take_filter();
    pthread_barrier_wait(&filtered);
    for (;;) pause();
    return none;
}

int main(int count, char **words) {
    const char *how = count > 1 ? words[1] : "main";
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &term, 0);
    lose();
    if (strcmp(how, "thread") == 0) {
        pthread_t thread;
        pthread_barrier_init(&filtered, 0, 2);
        if (pthread_create(&thread, 0, run, 0) != 0) return 1;
        pthread_barrier_wait(&filtered);
    } else if (strcmp(how, "namespace") == 0) {
        if (unshare(CLONE_NEWPID) != 0) return 1;
    } else {
        take_filter();
    }
    if (write(1, "ready\n", 6) != 6) return 1;
    int number, status = 0;
    sigwait(&term, &number);
    if (strcmp(how, "namespace") != 0) return 0;
    pid_t child = fork();
    if (child == 0) _exit(0);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : 3;
}
