/* Waiting for a thread to stop. See wait.h. */
#include "wait.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t leaks_now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000ull + (uint64_t)time.tv_nsec;
}

int leaks_wait(pid_t tid, int *status, uint64_t nanoseconds) {
    const uint64_t began = leaks_now();
    for (unsigned turn = 0;; turn++) {
        pid_t found = waitpid(tid, status, __WALL | WNOHANG);
        if (found > 0) return WIFSTOPPED(*status) ? 1 : -ESRCH;
        if (found < 0 && errno != EINTR) return -ESRCH;
        if (leaks_now() - began > nanoseconds) return 0;
        /* It usually stops within microseconds; a sleep would take fifty. */
        if (turn > 200) usleep(turn < 2000 ? 20 : 200);
        else sched_yield();
    }
}

char leaks_state_of(pid_t pid, pid_t tid) {
    char path[96], text[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = 0;
    const char *close = strrchr(text, ')');
    return close != NULL && close[1] == ' ' ? close[2] : 0;
}
