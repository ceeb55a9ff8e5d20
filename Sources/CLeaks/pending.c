/*
 * Reads the data that waits in another process's pipes and sockets, and leaves it there. The descriptors are copies of
 * the process's own (pidfd_getfd, Linux 5.6). Keep them open only briefly: while they are open, a pipe or socket that
 * the process closes is not closed for its peer.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "leaks.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static int outcome(long result) { return result < 0 ? -errno : (int)result; }

int leaks_open_process(pid_t pid) { return outcome(syscall(SYS_pidfd_open, pid, 0)); }

int leaks_take_descriptor(int process, int number) { return outcome(syscall(SYS_pidfd_getfd, process, number, 0)); }

ssize_t leaks_waiting(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) == 0 ? count : -errno;
}

int leaks_is_stream(int descriptor) {
    int type = 0;
    socklen_t length = sizeof type;
    return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

ssize_t leaks_peek_socket(int descriptor, void *buffer, size_t count) {
    ssize_t got = recv(descriptor, buffer, count, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 ? got : errno == EAGAIN ? 0 : -errno;
}

ssize_t leaks_peek_pipe(int descriptor, void *buffer, size_t count) {
    int own[2];
    if (pipe2(own, O_CLOEXEC | O_NONBLOCK) != 0) return -errno;
    /* The new pipe needs as many pages as the other has: tee copies whole pages. */
    int room = fcntl(descriptor, F_GETPIPE_SZ);
    if (room > 0) (void)fcntl(own[1], F_SETPIPE_SZ, room);
    ssize_t copied = tee(descriptor, own[1], count, SPLICE_F_NONBLOCK),
            done = copied < 0 && errno != EAGAIN ? -errno : 0;
    while (copied > 0 && done < copied) {
        ssize_t got = read(own[0], (char *)buffer + done, (size_t)(copied - done));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done += got;
    }
    close(own[0]);
    close(own[1]);
    return done;
}
