/*
 * What programs do to themselves, as the first argument says, and then leave exactly 40 blocks of 56 bytes in leave(),
 * half of them in a new thread. "daemon FILE": forks twice, closes all descriptors, goes to /, and where it is root
 * becomes nobody; writes FILE when it is done. "undumpable": prctl(PR_SET_DUMPABLE, 0). "sandbox": a seccomp filter
 * that kills for what neither malloc nor threads need ("sandbox-by-call": set by seccomp(2)). "watched": one that
 * forbids ptrace alone. "strict": seccomp's strict mode, after which it allocates from what it has: 40 blocks, in no
 * thread. "limits": no descriptor more, no file longer than a page, and 64 MB of address space more. "old COMMAND…":
 * runs a command on a kernel that seems to have no MADV_POPULATE_WRITE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *volatile kept[40];

__attribute__((noinline)) static void leave(int from) {
    for (int i = from; i < from + 20; i++) kept[i] = malloc(56);
}

static void *in_thread(void *unused) {
    leave(20);
    for (int i = 0; i < 1000; i++) {
        void *volatile block = malloc((size_t)i * 10);
        free(block);
    }
    return unused;
}

static int leave_all(void) {
    pthread_t thread;
    leave(0);
    if (pthread_create(&thread, NULL, in_thread, NULL) != 0) return 1;
    pthread_join(thread, NULL);
    return 0;
}

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int sandbox(int by_call) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read),
        ALLOW(write),
        ALLOW(exit),
        ALLOW(exit_group),
        ALLOW(brk),
        ALLOW(mmap),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(mprotect),
        ALLOW(madvise),
        ALLOW(futex),
        ALLOW(rt_sigaction),
        ALLOW(rt_sigprocmask),
        ALLOW(rt_sigreturn),
        ALLOW(gettid),
        ALLOW(getpid),
        ALLOW(tgkill),
        ALLOW(clone),
        ALLOW(clone3),
        ALLOW(set_robust_list),
        ALLOW(rseq),
        ALLOW(close),
        ALLOW(fstat),
        ALLOW(newfstatat),
        ALLOW(getrandom),
        ALLOW(prlimit64),
        ALLOW(sched_getaffinity),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 1;
    return by_call ? syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0
                   : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0;
}

static int watch(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0;
}

static int on_an_old_kernel(char **command) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 23 /* MADV_POPULATE_WRITE */, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        return 1;
    execvp(command[0], command);
    return 2;
}

static int become_a_daemon(const char *done) {
    if (fork() != 0) _exit(0);
    setsid();
    if (fork() != 0) _exit(0);
    if (chdir("/") != 0) return 1;
    umask(0);
    for (int fd = 0; fd < 1024; fd++) close(fd);
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 2;
    if (leave_all() != 0) return 3;
    int fd = open(done, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd != 0 || write(fd, "done\n", 5) != 5)
        return 4; /* the lowest descriptor is free, as none of anybody else's is open */
    close(fd);
    pause();
    return 0;
}

static int limit_all(void) {
    struct rlimit none = {0, 0}, file_size = {4096, 4096}, space;
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld", &pages) != 1) return 1;
    fclose(file);
    space.rlim_cur = space.rlim_max = (rlim_t)pages * 4096 + (64 << 20);
    return setrlimit(RLIMIT_NOFILE, &none) != 0 || setrlimit(RLIMIT_FSIZE, &file_size) != 0
        || setrlimit(RLIMIT_AS, &space) != 0;
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "";
    int result = 0;
    if (strcmp(how, "old") == 0) return on_an_old_kernel(arguments + 2);
    if (strcmp(how, "daemon") == 0) return become_a_daemon(arguments[2]);
    if (strcmp(how, "strict") == 0) {
        void *volatile top = malloc(100000);
        free(top); /* what follows comes out of this */
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) return 1;
        leave(0);
        leave(20);
        if (write(1, "ended 0\n", 8) != 8) result = 2;
        for (;;) syscall(SYS_exit, result);
    }
    if (strcmp(how, "undumpable") == 0) result = prctl(PR_SET_DUMPABLE, 0);
    if (strcmp(how, "sandbox") == 0 || strcmp(how, "sandbox-by-call") == 0)
        result = sandbox(strcmp(how, "sandbox") != 0);
    if (strcmp(how, "watched") == 0) result = watch();
    if (strcmp(how, "limits") == 0) result = limit_all();
    result |= leave_all();
    char line[32];
    int length = snprintf(line, sizeof line, "ended %d\n", result);
    return write(1, line, (size_t)length) == length ? result : 9;
}
