/* Ignores SIGUSR1, and starts itself in four ways: what is ignored is handed on, a handler is not. */
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void show(const char *when) {
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    printf("%s: %s, flags %x, kill blocked %d\n", when,
        action.sa_handler == SIG_IGN       ? "ignored"
            : action.sa_handler == SIG_DFL ? "default"
                                           : "handled",
        action.sa_flags, sigismember(&action.sa_mask, SIGKILL));
    fflush(stdout);
}

static void on_signal(int signal) { (void)signal; }

int main(int count, char **arguments) {
    if (count > 1) {
        show(arguments[1]);
        return 0;
    }
    char *spawned[] = {arguments[0], "spawned", NULL};
    struct sigaction action = {.sa_handler = SIG_IGN};
    sigfillset(&action.sa_mask);
    for (int round = 0; round < 2; round++) {
        sigaction(SIGUSR1, &action, NULL);
        show("itself");
        pid_t child;
        posix_spawn(&child, arguments[0], NULL, NULL, spawned, environ);
        waitpid(child, NULL, 0);
        if ((child = vfork()) == 0) {
            execl(arguments[0], arguments[0], "vforked", (char *)NULL);
            _exit(1);
        }
        waitpid(child, NULL, 0);
        if ((child = fork()) == 0) {
            execle(arguments[0], arguments[0], "forked", (char *)NULL, environ);
            _exit(1);
        }
        waitpid(child, NULL, 0);
        execl("./no-program", "no-program", (char *)NULL);
        show("after an exec that failed");
        action.sa_handler = on_signal;
    }
    return 0;
}
