/*
 * Runs a program, and counts the system calls that it makes from its first SIGSTOP to its end. Prints their number, and
 * ends as the program does. usage: counts_calls PROGRAM [ARGUMENT...]
 */
#define _GNU_SOURCE
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int arguments, char **values) {
    if (arguments < 2) errx(2, "no program is named");
    const pid_t child = fork();
    int status;
    if (child < 0) err(2, "fork");
    if (child == 0) {
        execvp(values[1], values + 1);
        err(2, "%s", values[1]);
    }
    if (waitpid(child, &status, WUNTRACED) != child) err(2, "waitpid");
    if (!WIFSTOPPED(status)) errx(2, "the program did not stop");
    if (ptrace(PTRACE_SEIZE, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0) err(2, "ptrace");
    kill(child, SIGCONT);
    long stops = 0;
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        const int signal = WSTOPSIG(status);
        const int is_event = status >> 16; /* a stop of the tracer's own, or one by SIGSTOP, which is over */
        if (signal == (SIGTRAP | 0x80)) stops++;
        const int passed_on = signal == (SIGTRAP | 0x80) || is_event != 0 ? 0 : signal;
        if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)(long)passed_on) != 0) break;
    }
    if (!WIFEXITED(status)) errx(2, "the program ended by a signal, or was lost");
    printf("%ld\n", (stops + 1) / 2); /* a call has a stop at its beginning and one at its end; exit has none */
    return WEXITSTATUS(status);
}
