/*
 * Signals in all their ways. "jump MS": leaves a handler by siglongjmp so often for so many milliseconds, wherever it
 * interrupted the allocation, then leaves exactly 50 blocks of 40 bytes in after(). For this the allocator must bear
 * it: the test preloads one that keeps no state but a bump. "allocate MS": the handler allocates and frees instead.
 * "sigwait", "signalfd": takes three SIGUSR2 in that way. "blocked": blocks every signal, says "ready", and waits for a
 * line. "altstack": recurses on a thread's small stack, with the handlers' stack as small as the system allows, and
 * says whether the words below that stack stand. "cancel": a thread with cancellation pending gets the signal where
 * nothing cancels it, and goes on to say so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile sig_atomic_t armed, came;
static void *volatile kept[50];

__attribute__((noinline)) static void after(void) {
    for (int i = 0; i < 50; i++) kept[i] = malloc(40);
}

static void say(const char *text) {
    if (write(1, text, strlen(text)) < 0) _exit(9);
}

static void jump(int signal) {
    (void)signal;
    came++;
    if (armed) siglongjmp(back, 1);
}

__attribute__((noinline)) static void in_handler(void) {
    void *volatile block = malloc(100);
    block = realloc(block, 3000);
    free(block);
}

static void allocate(int signal) {
    (void)signal;
    came++;
    if (armed) in_handler();
}

__attribute__((noinline)) static void churn(int depth, int size) {
    void *volatile block = malloc((size_t)size);
    if (depth > 0) churn(depth - 1, size * 3 % 4099 + 1);
    if (size % 4 == 0) block = realloc(block, (size_t)size * 2 + 1);
    free(block);
}

static long milliseconds_since(const struct timeval *start) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_usec - start->tv_usec) / 1000;
}

static int churn_under(void (*handler)(int), int milliseconds) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    struct itimerval timer = {{0, 100}, {0, 100}}, off = {{0, 0}, {0, 0}};
    struct timeval start;
    sigaction(SIGALRM, &action, NULL);
    gettimeofday(&start, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    volatile int round = 0;
    sigsetjmp(back, 1);
    /* Longer where the machine has other work, up to a minute. */
    for (long now; (now = milliseconds_since(&start)) < milliseconds || (came <= 10 && now < 60000);) {
        armed = 1;
        for (int i = 0; i < 20; i++) {
            round++;
            churn(round % 30, round % 997 + 1);
        }
        armed = 0;
    }
    armed = 0;
    setitimer(ITIMER_REAL, &off, NULL);
    after();
    say(came > 10 ? "interrupted often\n" : "seldom interrupted\n");
    return 0;
}

static int take(int by_descriptor) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int fd = by_descriptor ? signalfd(-1, &set, SFD_CLOEXEC) : -1;
    say("ready\n");
    for (int i = 0; i < 3; i++) {
        struct signalfd_siginfo info;
        int number = 0;
        if (by_descriptor ? read(fd, &info, sizeof info) != sizeof info : sigwait(&set, &number) != 0) return 1;
        say((by_descriptor ? (int)info.ssi_signo : number) == SIGUSR2 ? "came\n" : "another\n");
        void *volatile block = malloc(1000);
        free(block);
    }
    return 0;
}

__attribute__((noinline)) static int recurse(int depth) {
    char *volatile block = malloc(200);
    int result = depth > 0 ? recurse(depth - 1) : 0;
    free(block);
    return result + 1;
}

static atomic_int stop;

static void *on_small_stacks(void *unused) {
    size_t least = (size_t)sysconf(_SC_MINSIGSTKSZ) + 4096, guarded = least + 8192;
    char *memory = mmap(NULL, guarded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 0x5A, 8192);
    stack_t stack = {.ss_sp = memory + 8192, .ss_size = least};
    if (sigaltstack(&stack, NULL) != 0) return unused;
    say("ready\n");
    long rounds = 0;
    while (!atomic_load(&stop)) rounds += recurse(20);
    int stands = 1;
    for (size_t i = 0; i < 8192; i++) stands &= memory[i] == 0x5A;
    say(stands ? "the words stand\n" : "overwritten\n");
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    return NULL;
}

static void clean_up(void *unused) {
    (void)unused;
    say("cancelled\n");
}

static void *cancelled(void *unused) {
    pthread_cleanup_push(clean_up, NULL);
    int type;
    pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
    while (!atomic_load(&stop)) recurse(5); /* no cancellation point in here */
    static const char text[] = "not before its time\n";
    if (syscall(SYS_write, 1, text, sizeof text - 1) < 0) abort();
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return unused;
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "";
    int milliseconds = count > 2 ? atoi(arguments[2]) : 500;
    sigset_t all;
    pthread_t thread;
    char line[8];
    if (strcmp(how, "jump") == 0) return churn_under(jump, milliseconds);
    if (strcmp(how, "allocate") == 0) return churn_under(allocate, milliseconds);
    if (strcmp(how, "sigwait") == 0) return take(0);
    if (strcmp(how, "signalfd") == 0) return take(1);
    sigfillset(&all);
    if (strcmp(how, "blocked") == 0) {
        sigprocmask(SIG_BLOCK, &all, NULL);
        after();
        say("ready\n");
        return read(0, line, sizeof line) > 0 ? 0 : 1;
    }
    int cancel = strcmp(how, "cancel") == 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, cancel ? 256 << 10 : 32 << 10);
    pthread_create(&thread, &attributes, cancel ? cancelled : on_small_stacks, NULL);
    sigprocmask(SIG_BLOCK, &all, NULL); /* so that the thread alone gets them */
    if (cancel) {
        pthread_cancel(thread);
        say("ready\n");
    }
    if (read(0, line, sizeof line) <= 0) return 1;
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    return 0;
}
