/*
 * One thread in each system call that waits, some of which answer EINTR to whatever wakes them. A call that comes back
 * before its time is said, with its name and error: nothing here wakes them.
 * usage: calls [MEGABYTES [TIMES]]: of memory in small pages, which make a copy of the process take its time; and how
 * often main begins an exec that fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../at_rest.h"

static int pair[2], pipes[2], full[2], epoll, semaphores, messages, listener, event, timer, notify;
static atomic_int waiting;
static sem_t semaphore;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static sigset_t usr1, all;
static struct timespec day = {86400, 0};
static struct timeval long_time = {86400, 0};
static char byte[8];

static long in_read(void) { return read(pipes[0], byte, 1); }
static long in_write(void) { return write(full[1], byte, 1); }
static long in_recv(void) { return recv(pair[0], byte, 1, 0); }
static long in_recvmsg(void) {
    struct iovec v = {byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    return recvmsg(pair[0], &m, 0);
}
static long in_recvmmsg(void) {
    struct iovec v = {byte, 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
    return recvmmsg(pair[0], &m, 1, 0, 0);
}
static long in_accept(void) { return accept(listener, 0, 0); }
static long in_epoll(void) {
    struct epoll_event e;
    return epoll_wait(epoll, &e, 1, -1);
}
static long in_epoll_timed(void) {
    struct epoll_event e;
    return epoll_pwait(epoll, &e, 1, 86400000, &all);
}
static long in_poll(void) {
    struct pollfd p = {pipes[0], POLLIN, 0};
    return poll(&p, 1, 86400000);
}
static long in_ppoll(void) {
    struct pollfd p = {pipes[0], POLLIN, 0};
    return ppoll(&p, 1, &day, &all);
}
static long in_select(void) {
    fd_set s;
    FD_ZERO(&s);
    FD_SET(pipes[0], &s);
    return select(pipes[0] + 1, &s, 0, 0, &long_time);
}
static long in_nanosleep(void) { return nanosleep(&day, 0); }
static long in_clock_nanosleep(void) { return -clock_nanosleep(CLOCK_MONOTONIC, 0, &day, 0); }
static long in_sigwaitinfo(void) { return sigwaitinfo(&usr1, 0); }
static long in_sigtimedwait(void) { return sigtimedwait(&usr1, 0, &day); }
static long in_semop(void) {
    struct sembuf o = {0, -1, 0};
    return semop(semaphores, &o, 1);
}
static long in_semtimedop(void) {
    struct sembuf o = {0, -1, 0};
    return semtimedop(semaphores, &o, 1, &day);
}
static long in_msgrcv(void) {
    struct {
        long type;
        char text[8];
    } m;
    return msgrcv(messages, &m, 8, 0, 0);
}
static long in_futex(void) {
    static int word;
    return syscall(SYS_futex, &word, FUTEX_WAIT, 0, &day, 0, 0);
}
static long in_sem_wait(void) { return sem_wait(&semaphore); }
static long in_sem_timedwait(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 86400;
    return sem_timedwait(&semaphore, &t);
}
static long in_condition(void) {
    pthread_mutex_lock(&mutex);
    return -pthread_cond_wait(&condition, &mutex);
}
static long in_pause(void) { return pause(); }
static long in_sigsuspend(void) { return sigsuspend(&all); }
static long in_eventfd(void) {
    uint64_t v;
    return read(event, &v, 8);
}
static long in_timerfd(void) {
    uint64_t v;
    return read(timer, &v, 8);
}
static long in_inotify(void) {
    char b[256];
    return read(notify, b, sizeof b);
}
static long in_flock(void) { return flock(101, LOCK_EX); }
static long in_waitid(void) {
    siginfo_t i;
    return waitid(P_ALL, 0, &i, WEXITED);
}

#define CALL(name) \
    { #name, in_##name }
static const struct call {
    const char *name;
    long (*wait)(void);
} calls[] = {
    CALL(read),
    CALL(write),
    CALL(recv),
    CALL(recvmsg),
    CALL(recvmmsg),
    CALL(accept),
    CALL(epoll),
    CALL(epoll_timed),
    CALL(poll),
    CALL(ppoll),
    CALL(select),
    CALL(nanosleep),
    CALL(clock_nanosleep),
    CALL(sigwaitinfo),
    CALL(sigtimedwait),
    CALL(semop),
    CALL(semtimedop),
    CALL(msgrcv),
    CALL(futex),
    CALL(sem_wait),
    CALL(sem_timedwait),
    CALL(condition),
    CALL(pause),
    CALL(sigsuspend),
    CALL(eventfd),
    CALL(timerfd),
    CALL(inotify),
    CALL(flock),
    CALL(waitid),
};

static void *run(void *argument) {
    const struct call *call = argument;
    waiting++;
    long result = call->wait();
    printf("%s came back: %ld %s\n", call->name, result, result < 0 ? strerror(errno) : "");
    return 0;
}

static void fill(size_t bytes) {
    if (bytes == 0) return;
    char *memory = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) exit(2);
    madvise(memory, bytes, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < bytes; at += 4096) memory[at] = 1;
}

int main(int count_of_words, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (count_of_words > 1) fill((size_t)atoi(words[1]) << 20);
    sigfillset(&all);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, 0);
    sigset_t last;
    sigemptyset(&last);
    sigaddset(&last, SIGTERM);
    sigprocmask(SIG_BLOCK, &last, 0);
    socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof long_time); /* with it EINTR instead of a restart */
    (void)!pipe(pipes);
    (void)!pipe2(full, O_NONBLOCK);
    while (write(full[1], byte, 1) == 1) {}
    fcntl(full[1], F_SETFL, 0);
    epoll = epoll_create1(0);
    semaphores = semget(IPC_PRIVATE, 1, 0600);
    messages = msgget(IPC_PRIVATE, 0600);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t));
    listen(listener, 1);
    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &long_time, sizeof long_time);
    event = eventfd(0, 0);
    timer = timerfd_create(CLOCK_MONOTONIC, 0);
    notify = inotify_init1(0);
    sem_init(&semaphore, 0, 0);
    char name[] = "/tmp/heapsum-lock-XXXXXX";
    int lock = mkstemp(name);
    dup2(lock, 100);
    dup2(open(name, O_RDONLY), 101);
    unlink(name);
    flock(100, LOCK_EX);
    pid_t child = fork();
    if (child == 0)
        for (;;) pause();
    size_t count = sizeof calls / sizeof *calls;
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        pthread_create(&thread, 0, run, (void *)&calls[i]);
    }
    while (waiting < (int)count) usleep(1000);
    wait_for_threads((int)count, 'S');
    char *const nobody[] = {"/nobody", 0};
    for (int i = count_of_words > 2 ? atoi(words[2]) : 0; i > 0; i--) execv(nobody[0], nobody);
    printf("%zu calls\n", count);
    puts("ready");
    /* IPC objects outlive who made them: they go when the parent says so, and with it. */
    sigset_t term;
    int number;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigwait(&term, &number);
    semctl(semaphores, 0, IPC_RMID);
    msgctl(messages, IPC_RMID, 0);
    kill(child, SIGKILL);
    _exit(0);
}
