/*
 * Waits in one system call, named by the argument, until a line comes on standard input; then says how the call came
 * back: "came back N", where N is what it answered, or "failed ERRNO"; and how many milliseconds it took. A second
 * thread reads the line and does what ends the wait, so the first is the one that waits. Calls with a time limit end by
 * themselves, after as many seconds as the second argument says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *what;
static int ends[2], sockets[2], listener, epoll, semaphores, queue, locked;
static pthread_t first;
static pid_t child;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int is_over;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int limit_seconds;

static int is(const char *name) { return strcmp(what, name) == 0; }
static void on_signal(int number) { (void)number; }

static void *wake(void *none) {
    char line[16], drained[65536];
    if (fgets(line, sizeof line, stdin) == NULL) _exit(3);
    if (is("write") || is("writev")) {
        while (read(ends[0], drained, sizeof drained) == sizeof drained) {}
    } else if (is("accept")) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) _exit(4);
    } else if (is("recv") || is("recvmsg") || is("recvmmsg")) {
        if (send(sockets[1], "x", 1, 0) != 1) _exit(4);
    } else if (is("send")) {
        while (recv(sockets[1], drained, sizeof drained, MSG_DONTWAIT) > 0) {}
    } else if (is("semop") || is("semtimedop")) {
        struct sembuf up = {0, 1, 0};
        if (semop(semaphores, &up, 1) != 0) _exit(4);
    } else if (is("msgrcv")) {
        struct {
            long type;
            char text[1];
        } message = {1, "x"};
        if (msgsnd(queue, &message, 1, 0) != 0) _exit(4);
    } else if (is("sem_wait")) {
        sem_post(&semaphore);
    } else if (is("cond_wait")) {
        pthread_mutex_lock(&mutex);
        is_over = 1;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&mutex);
    } else if (is("wait4") || is("waitid")) {
        kill(child, SIGKILL);
    } else if (is("flock") || is("fcntl")) {
        kill(child, SIGKILL); /* which holds the lock */
    } else if (is("pause") || is("sigsuspend") || is("sigtimedwait") || is("sigwaitinfo")) {
        pthread_kill(first, SIGUSR1);
    } else if (write(ends[1], "x", 1) != 1) {
        _exit(4);
    }
    return none;
}

static long run(void) {
    char byte, big[65536] = {0};
    struct iovec part = {&byte, 1}, whole = {big, sizeof big};
    struct pollfd poller = {ends[0], POLLIN, 0};
    struct timespec limit = {limit_seconds, 0}, at;
    struct timeval limit_too = {limit_seconds, 0};
    struct epoll_event event;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct mmsghdr messages = {.msg_hdr = message};
    fd_set set;
    sigset_t none, usr1;
    int status;
    siginfo_t info;
    FD_ZERO(&set);
    FD_SET(ends[0], &set);
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (is("read")) return read(ends[0], &byte, 1);
    if (is("readv")) return readv(ends[0], &part, 1);
    if (is("write")) return write(ends[1], big, sizeof big);
    if (is("writev")) return writev(ends[1], &whole, 1);
    if (is("poll")) return poll(&poller, 1, -1);
    if (is("poll_limit")) return poll(&(struct pollfd){-1, 0, 0}, 1, limit_seconds * 1000);
    if (is("ppoll")) return ppoll(&poller, 1, NULL, &none);
    if (is("select")) return select(ends[0] + 1, &set, NULL, NULL, NULL);
    if (is("select_limit")) return select(0, NULL, NULL, NULL, &limit_too);
    if (is("pselect")) return pselect(ends[0] + 1, &set, NULL, NULL, NULL, &none);
    if (is("epoll_wait")) return epoll_wait(epoll, &event, 1, -1);
    if (is("epoll_pwait")) return epoll_pwait(epoll, &event, 1, -1, &none);
    if (is("nanosleep")) return nanosleep(&limit, NULL);
    if (is("clock_nanosleep")) {
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += limit_seconds;
        errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        return errno == 0 ? 0 : -1;
    }
    if (is("pause")) return pause();
    if (is("sigsuspend")) return sigsuspend(&none);
    if (is("sigtimedwait")) return sigtimedwait(&usr1, &info, &(struct timespec){60, 0});
    if (is("sigwaitinfo")) return sigwaitinfo(&usr1, &info);
    if (is("accept")) return accept(listener, NULL, NULL) >= 0 ? 0 : -1;
    if (is("recv")) return recv(sockets[0], &byte, 1, 0);
    if (is("recvmsg")) return recvmsg(sockets[0], &message, 0);
    if (is("recvmmsg")) return recvmmsg(sockets[0], &messages, 1, 0, NULL);
    if (is("send")) return send(sockets[0], big, sizeof big, 0) > 0 ? 0 : -1;
    if (is("semop")) return semop(semaphores, &(struct sembuf){0, -1, 0}, 1);
    if (is("semtimedop")) return semtimedop(semaphores, &(struct sembuf){0, -1, 0}, 1, &(struct timespec){60, 0});
    if (is("msgrcv")) {
        struct {
            long type;
            char text[1];
        } got;
        return msgrcv(queue, &got, 1, 0, 0);
    }
    if (is("sem_wait")) return sem_wait(&semaphore);
    if (is("sem_timedwait")) {
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_sec += limit_seconds;
        return sem_timedwait(&semaphore, &at);
    }
    if (is("cond_wait")) {
        pthread_mutex_lock(&mutex);
        while (!is_over) pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
        return 0;
    }
    if (is("wait4")) return waitpid(child, &status, 0) == child ? 0 : -1;
    if (is("waitid")) return waitid(P_PID, (id_t)child, &info, WEXITED);
    if (is("flock")) return flock(locked, LOCK_EX);
    if (is("fcntl")) return fcntl(locked, F_SETLKW, &(struct flock){.l_type = F_WRLCK});
    fprintf(stderr, "no such wait: %s\n", what);
    exit(2);
}

static void fill(void) {
    char bytes[4096] = {0};
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    while (write(ends[1], bytes, sizeof bytes) > 0) {}
    fcntl(ends[1], F_SETFL, 0);
    while (send(sockets[0], bytes, sizeof bytes, MSG_DONTWAIT) > 0) {}
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    what = arguments[1];
    limit_seconds = count > 2 ? atoi(arguments[2]) : 3;
    struct timeval timeout = {60, 0};
    struct sigaction action = {.sa_handler = on_signal};
    char name[] = "/tmp/heapsum-waits-XXXXXX";
    if (pipe(ends) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) return 2;
    /* with a limit, the kernel does not restart it by itself */
    setsockopt(sockets[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(sockets[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    locked = mkstemp(name);
    unlink(name);
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "heapsum-waits-%d", (int)getpid());
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) return 2;
    epoll = epoll_create1(0);
    epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){.events = EPOLLIN});
    sem_init(&semaphore, 0, 0);
    if (is("write") || is("writev") || is("send")) fill();
    if (is("semop") || is("semtimedop")) semaphores = semget(IPC_PRIVATE, 1, 0600);
    if (is("msgrcv")) queue = msgget(IPC_PRIVATE, 0600);
    if (is("wait4") || is("waitid") || is("flock") || is("fcntl")) {
        int ready[2];
        char byte;
        if (pipe(ready) != 0) return 2;
        child = fork();
        if (child == 0) {
            int own = is("flock") ? open("/proc/self/fd/0", O_RDONLY) : -1;
            (void)own;
            if (is("flock")) {
                snprintf(name, sizeof name, "/proc/self/fd/%d", locked);
                own = open(name, O_RDWR);
                if (flock(own, LOCK_EX) != 0) _exit(9);
            }
            if (is("fcntl") && fcntl(locked, F_SETLK, &(struct flock){.l_type = F_WRLCK}) != 0) _exit(9);
            if (write(ready[1], "x", 1) != 1) _exit(9);
            for (;;) pause();
        }
        if (read(ready[0], &byte, 1) != 1) return 2;
    }
    if (is("pause") || is("sigsuspend")) sigaction(SIGUSR1, &action, NULL);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    if (is("sigtimedwait") || is("sigwaitinfo")) pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    first = pthread_self();
    pthread_t waker;
    if (pthread_create(&waker, NULL, wake, NULL) != 0) return 2;
    printf("waiting\n");
    fflush(stdout);
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    errno = 12345;
    long answer = run();
    int error = errno;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (answer < 0) printf("failed %d\n", error);
    else printf("came back %ld errno %d\n", answer, error);
    printf("milliseconds %lld\n",
        (long long)(ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000);
    if (is("semop") || is("semtimedop")) semctl(semaphores, 0, IPC_RMID);
    if (is("msgrcv")) msgctl(queue, IPC_RMID, NULL);
    if (child > 0) kill(child, SIGKILL);
    fflush(stdout);
    return 0;
}
