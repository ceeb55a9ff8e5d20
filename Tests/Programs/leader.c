/*
 * A process whose first thread ends while another goes on: it keeps a block of 1,000 bytes each time that it is told to
 * by SIGUSR1, writes how many it has to the file that it is given, and ends with status 9 at SIGTERM. With "child" that
 * is what a child does, whose parent ends after it has kept 10.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile kept[10000];
static const char *file;
static sigset_t wanted;

static void say(int count) {
    char text[32], path[4096];
    int length = snprintf(text, sizeof text, "%d %d\n", (int)getpid(), count);
    snprintf(path, sizeof path, "%s.new", file);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0 || write(to, text, (size_t)length) != length || rename(path, file) != 0) _exit(1);
    close(to);
}

/* Until the kernel calls the first thread a zombie. */
static void wait_for_first_threads_end(void) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    for (int ended = 0; !ended; usleep(1000)) {
        int from = open(path, O_RDONLY);
        ssize_t length = from < 0 ? -1 : read(from, text, sizeof text - 1);
        if (length < 0) _exit(1);
        close(from);
        text[length] = 0;
        ended = strstr(text, ") Z ") != NULL;
    }
}

static void *keep(void *nothing) {
    wait_for_first_threads_end();
    int count = 0;
    for (; count < 10; count++) kept[count] = malloc(1000);
    say(count);
    for (;;) {
        int number;
        sigwait(&wanted, &number);
        if (number == SIGTERM) _exit(9);
        kept[count++] = malloc(1000);
        say(count);
    }
    return nothing;
}

int main(int count, char **arguments) {
    file = arguments[1];
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigaddset(&wanted, SIGTERM);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    if (count > 2 && strcmp(arguments[2], "child") == 0 && fork() != 0) {
        while (access(file, R_OK) != 0) usleep(10000);
        return 0;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep, NULL) != 0) return 1;
    pthread_exit(NULL);
}
