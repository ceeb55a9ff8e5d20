/*
 * Allocations that a signal's handler leaves by siglongjmp. The allocator must bear it (bump.c).
 *
 * "left growing": leaves JUMPS of them, and keeps all that it gets. Then frees a block so large that no event waits.
 * "left starting N": in N children, each at another moment of its first allocation. Each has 50 blocks of after() then,
 * as the parent does.
 * "left sent N": the parent sends SIGSEGV in such a moment, and the handler leaves by _longjmp, which keeps the mask.
 * The status is 2 if a child has SIGTERM blocked then.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define JUMPS 1500

static sigjmp_buf back;
static volatile sig_atomic_t armed, jumps;
static void *volatile kept;

static void leave(int signal) {
    (void)signal;
    if (!armed) return;
    armed = 0;
    jumps++;
    siglongjmp(back, 1);
}

static void set_timer(long first, long next) {
    struct itimerval timer = {{0, next}, {0, first}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

__attribute__((noinline)) static void after(void) {
    for (int i = 0; i < 50; i++) kept = malloc(40);
}

static int grow(void) {
    set_timer(100, 100);
    sigsetjmp(back, 1);
    while (jumps < JUMPS) {
        armed = 1;
        for (int i = 0; i < 20; i++) kept = malloc(16);
        armed = 0;
    }
    set_timer(0, 0);
    free(malloc(2 << 20));
    return 0;
}

/* Its hook's frame is further down the stack than those of after(), which so are no interrupting handler's. */
__attribute__((noinline)) static void first_far_down(void) {
    volatile char space[4096];
    space[0] = 0;
    kept = malloc(1);
    space[1] = 0;
}

static void start(int number) {
    if (sigsetjmp(back, 1) == 0) {
        armed = 1;
        set_timer(10 + number * 37 % 1100, 0);
        first_far_down();
        armed = 0;
    }
    set_timer(0, 0);
    after();
    _exit(0);
}

static int start_children(int count) {
    int failed = 0;
    for (int number = 0; number < count; number++) {
        int status = 0;
        const pid_t child = fork();
        if (child == 0) start(number);
        failed |= child < 0 || waitpid(child, &status, 0) != child || status != 0;
    }
    after();
    return failed;
}

static jmp_buf plainly_back;
static void leave_plainly(int signal) {
    (void)signal;
    if (!armed) return;
    armed = 0;
    _longjmp(plainly_back, 1);
}

static void be_sent(int ready) {
    if (_setjmp(plainly_back) == 0) {
        armed = 1;
        if (write(ready, "x", 1) != 1) _exit(1);
        kept = malloc(8);
        while (armed) pause();
    }
    after();
    sigset_t mask;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    _exit(sigismember(&mask, SIGTERM) ? 2 : 0);
}

static int send_to_children(int count) {
    int worst = 0;
    for (int number = 0; number < count; number++) {
        int ready[2], status = 0;
        char said;
        if (pipe(ready) != 0) return 1;
        const pid_t child = fork();
        if (child == 0) be_sent(ready[1]);
        if (child < 0 || read(ready[0], &said, 1) != 1) return 1;
        for (volatile int turn = 0; turn < number * 20000; turn++) {}
        /* One that comes before the child waits for it is lost in pause(); so again. */
        do kill(child, SIGSEGV);
        while (usleep(1000) == 0 && waitpid(child, &status, WNOHANG) == 0);
        close(ready[0]);
        close(ready[1]);
        if (!WIFEXITED(status)) return 1;
        if (WEXITSTATUS(status) > worst) worst = WEXITSTATUS(status);
    }
    return worst;
}

int main(int count, char **arguments) {
    struct sigaction action = {.sa_handler = leave}, plain = {.sa_handler = leave_plainly, .sa_flags = SA_NODEFER};
    if (count < 2 || sigaction(SIGALRM, &action, NULL) != 0 || sigaction(SIGSEGV, &plain, NULL) != 0) return 1;
    const int number = count > 2 ? atoi(arguments[2]) : 10;
    if (strcmp(arguments[1], "growing") == 0) return grow();
    return strcmp(arguments[1], "sent") == 0 ? send_to_children(number) : start_children(number);
}
