/*
 * The parts of starting a program that Swift's Glibc module lacks. Each function makes one or a few system calls; all
 * policy is in Swift. Nothing here allocates, and the code between fork and execve is async-signal-safe.
 */
#ifndef HEAPSUM_LAUNCH_H
#define HEAPSUM_LAUNCH_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LAUNCH_TMPFS_MAGIC 0x01021994

struct launch_file_system {
    int is_tmpfs;
    uint64_t available_bytes;
};

/* statfs(2). 0, or -1 with errno. */
static inline int launch_file_system_of(const char *path, struct launch_file_system *out) {
    struct statfs fs;
    if (statfs(path, &fs) != 0) return -1;
    out->is_tmpfs = fs.f_type == LAUNCH_TMPFS_MAGIC;
    out->available_bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    /* A tmpfs without a limit reports 0 blocks: its limit is the memory. */
    if (out->is_tmpfs && fs.f_blocks == 0) out->available_bytes = UINT64_MAX;
    return 0;
}

static inline int launch_has_capabilities(const char *path) { return getxattr(path, "security.capability", 0, 0) > 0; }

static inline int launch_no_new_privileges(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1; }

/*
 * Blocks all signals that can be waited for, and stores the old mask. Signals of faults stay unblocked: if they were
 * blocked, a fault would loop.
 */
static inline void launch_block_signals(sigset_t *blocked, sigset_t *before) {
    sigfillset(blocked);
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(blocked, faults[i]);
    sigprocmask(SIG_SETMASK, blocked, before);
}

/*
 * Starts a program with the signal state that this process was started with. It uses fork, because posix_spawn can't
 * pass on an ignored SIGCHLD: this process needs the default action, or the kernel would reap the child before its end
 * is read, but the program must get the old action. With `trace` (ptrace's options) the program is traced from its
 * first instruction on; 0: not traced. Returns the PID; -1 with errno if fork or execve failed; -2 with errno if it
 * can't be traced.
 */
static inline pid_t launch_start(const char *path, char *const arguments[], char *const environment[],
    const sigset_t *mask, int ignores_child, unsigned long trace) {
    int report[2], go[2];
    /* Not pipe2: Swift's module of unistd.h is built without _GNU_SOURCE. There is one thread. */
    if (pipe(report) != 0) return -1;
    fcntl(report[0], F_SETFD, FD_CLOEXEC);
    fcntl(report[1], F_SETFD, FD_CLOEXEC);
    if (trace != 0) {
        if (pipe(go) != 0) return -1;
        fcntl(go[0], F_SETFD, FD_CLOEXEC);
        fcntl(go[1], F_SETFD, FD_CLOEXEC);
    }
    pid_t pid = fork();
    if (pid == 0) {
        if (ignores_child) signal(SIGCHLD, SIG_IGN);
        if (trace != 0) {
            /* Wait until it is traced: then the pipe's end of file comes. */
            char none;
            close(go[1]);
            while (read(go[0], &none, 1) < 0 && errno == EINTR) {}
        }
        sigprocmask(SIG_SETMASK, mask, 0);
        execve(path, arguments, environment);
        int error = errno;
        while (write(report[1], &error, sizeof error) < 0 && errno == EINTR) {}
        _exit(127);
    }
    int error = pid < 0 ? errno : 0, result = -1;
    close(report[1]);
    if (trace != 0) {
        close(go[0]);
        if (pid > 0 && ptrace(PTRACE_SEIZE, pid, 0, trace) != 0) {
            error = errno;
            kill(pid, SIGKILL);
            while (waitpid(pid, 0, 0) < 0 && errno == EINTR) {}
            pid = result = -2;
        }
        close(go[1]);
    }
    if (pid > 0) {
        ssize_t count;
        while ((count = read(report[0], &error, sizeof error)) < 0 && errno == EINTR) {}
        if (count != (ssize_t)sizeof error) error = 0;
        int status;
        while (error != 0) {
            pid_t changed = waitpid(pid, &status, 0);
            if (changed < 0 && errno != EINTR) break;
            if (changed < 0) continue;
            if (!WIFSTOPPED(status)) break;
            ptrace(PTRACE_CONT, pid, 0, 0); /* it is traced, so it stops once more at its end */
        }
    }
    close(report[0]);
    if (error == 0) return pid;
    errno = error;
    return result;
}

/*
 * Starts this executable again as a command that prints into the two descriptors and reads nothing. It gets SIGTERM
 * when this process ends, however that ends. Returns the PID; -1 with errno if fork failed; if execve fails, the
 * command ends with 127.
 */
static inline pid_t launch_own_command(
    char *const arguments[], char *const environment[], int output, int messages, int nothing) {
    pid_t parent = getpid(), pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    if (dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(messages, 2) < 0) _exit(127);
    execve("/proc/self/exe", arguments, environment);
    _exit(127);
}

/* Sets SIGCHLD to its default action, which is needed to wait for a child. Returns whether it was ignored. */
static inline int launch_take_child_signal(void) {
    struct sigaction before;
    struct sigaction take = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &take, &before);
    return before.sa_handler == SIG_IGN;
}

/*
 * Makes a socket at `path` that others can connect to; the kernel raises SIGIO in this process at each connection. -1
 * with errno; ENAMETOOLONG if the path does not fit into an address.
 */
static inline int launch_listen(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0) return -1;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) == 0
        && listen(fd, 64) == 0 && fcntl(fd, F_SETOWN, getpid()) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* The next connection, and the process that made it (0: unknown); -1: there is none. */
static inline int launch_accept(int listening, pid_t *process) {
    struct {
        pid_t process;
        uid_t user;
        gid_t group;
    } peer = {0, 0, 0}; /* struct ucred, a name of _GNU_SOURCE's */
    socklen_t length = sizeof peer;
    int fd;
    while ((fd = accept(listening, 0, 0)) < 0 && errno == EINTR) {}
    if (fd < 0) return -1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    *process = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.process : 0;
    return fd;
}

/* Sends an answer and ends the connection. The other process may have ended. */
static inline void launch_answer(int fd, int32_t answer) {
    while (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
    close(fd);
}

/* Stops this process as `signal_number` does by default, and returns when it is continued. */
static inline void launch_stop_self(int signal_number) {
    struct sigaction stop = {.sa_handler = SIG_DFL}, before;
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal_number);
    sigaction(signal_number, &stop, &before);
    kill(getpid(), signal_number);
    sigprocmask(SIG_UNBLOCK, &only, 0); /* stops here */
    sigprocmask(SIG_BLOCK, &only, 0);
    sigaction(signal_number, &before, 0);
}

/*
 * Forks a companion with a socket to this process. Returns 0 in the companion and its PID in the parent; -1 with errno.
 * The companion has a session of its own, so that the terminal's signals and the program's to its process group don't
 * reach it; it can't read or write this process's standard streams, gives way to programs that compute, and dies with
 * this process. On the socket nobody waits longer than `seconds`.
 */
static inline pid_t launch_fork_companion(int *end, int seconds) {
    int ends[2];
    struct timeval limit = {seconds, 0};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return -1;
    for (int i = 0; i < 2; i++) fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        errno = error;
        return -1;
    }
    close(ends[pid > 0]);
    *end = ends[pid == 0];
    if (pid > 0) {
        setsockopt(*end, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(*end, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    setsid();
    int nothing = open("/dev/null", O_RDWR);
    for (int i = 0; nothing >= 0 && i < 3; i++) dup2(nothing, i);
    if (nothing > 2) close(nothing);
    setpriority(PRIO_PROCESS, 0, 5);
    return 0;
}

/* ioprio_set(2), for which glibc has no function: this process (1, 0) uses the disk only when no other does (class 3).
 */
static inline int launch_idle_disk(void) { return (int)syscall(SYS_ioprio_set, 1, 0, 3 << 13); }

enum { launch_wait_all = __WALL };
static inline int launch_exited(int status) { return WIFEXITED(status); }
static inline int launch_exit_status(int status) { return WEXITSTATUS(status); }
static inline int launch_killed(int status) { return WIFSIGNALED(status); }
static inline int launch_kill_signal(int status) { return WTERMSIG(status); }
/* Whether the kernel wrote a core file, or passed it to a collector. */
static inline int launch_dumped_core(int status) { return WCOREDUMP(status) != 0; }
static inline int launch_stopped(int status) { return WIFSTOPPED(status); }
static inline int launch_stop_signal(int status) { return WSTOPSIG(status); }
/* Whether a process sent the signal (kill, sigqueue, tgkill …), not the kernel or a terminal. */
static inline int launch_sent_by_process(const siginfo_t *info) { return info->si_code <= 0; }

#endif
