/*
 * The program's own use of SIGUSR2, by its argument: "none" leaves it alone; "own" and "signal" set a handler (by
 * sigaction, by signal) and count; "siginfo" checks what the handler is told; "ignore"; "raise" raises it in itself;
 * "asked" asks what stands. Says "ready", then waits for a line on standard input, then says how many came.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static void on_signal(int number) { came += number == SIGUSR2; }
static void on_signal_info(int number, siginfo_t *info, void *context) {
    came += number == SIGUSR2 && info->si_pid == getppid() && context != NULL;
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "none";
    void *volatile kept = malloc(1234);
    struct sigaction action = {.sa_handler = on_signal}, before;
    if (strcmp(how, "own") == 0) {
        sigaction(SIGUSR2, &action, &before);
        printf("before: default %d\n", before.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, NULL, &before);
        printf("now: ours %d\n", before.sa_handler == on_signal);
    }
    if (strcmp(how, "siginfo") == 0) {
        action.sa_sigaction = on_signal_info;
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGUSR2, &action, NULL);
    }
    if (strcmp(how, "signal") == 0) printf("before: default %d\n", signal(SIGUSR2, on_signal) == SIG_DFL);
    if (strcmp(how, "ignore") == 0) signal(SIGUSR2, SIG_IGN);
    if (strcmp(how, "asked") == 0) {
        sigaction(SIGUSR2, NULL, &before);
        printf("default %d, flags %d\n", before.sa_handler == SIG_DFL, before.sa_flags);
        printf("set to default: %d\n", signal(SIGUSR2, SIG_DFL) == SIG_DFL);
    }
    if (strcmp(how, "raise") == 0) raise(SIGUSR2);
    puts("ready");
    fflush(stdout);
    char line[8];
    ssize_t got;
    while ((got = read(0, line, sizeof line)) < 0 && errno == EINTR) {}
    printf("came %d\n", (int)came);
    return kept == NULL;
}
