// A process that waits in epoll_wait while signals come in that it ignores, and then one that it handles. Prints how
// each wait ended.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../at_rest.h"

static void handle(int number) { (void)number; }

// What epoll_wait returns while a child sends the signals, a tenth of a second apart, and ends. Each is sent when the
// parent waits.
static int waited(const int *signals, int count, int milliseconds) {
    const pid_t parent = getpid(), child = fork();
    if (child == 0) {
        for (int i = 0; i < count; i++) {
            usleep(100000);
            wait_until_asleep(parent);
            kill(parent, signals[i]);
        }
        usleep(100000);
        _exit(0);
    }
    struct epoll_event event;
    const int descriptor = epoll_create1(0), result = epoll_wait(descriptor, &event, 1, milliseconds);
    const int error = result < 0 ? errno : 0;
    close(descriptor);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    return error;
}

int main(void) {
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, handle);
    const int ignored[] = {SIGWINCH, SIGURG, SIGCONT, SIGHUP}, handled[] = {SIGWINCH, SIGUSR1};
    printf("child window urgent continue ignored: %d\n", waited(ignored, 4, 1500));
    printf("handled: %s\n", waited(handled, 2, 10000) == EINTR ? "interrupted" : "not interrupted");
}
