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

/* How often the kernel has taken the processor from a thread. A thread that sleeps on keeps the number. 0: unreadable.
 */
static uint64_t switches_of(pid_t tid) {
    char path[64], line[128];
    unsigned long long sleeps = 0, others = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)tid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "voluntary_ctxt_switches: %llu", &sleeps);
        sscanf(line, "nonvoluntary_ctxt_switches: %llu", &others);
    }
    fclose(file);
    return sleeps + others;
}

int leaks_wait_awake(pid_t tid, int *status, uint64_t asleep) {
    /* It usually stops within microseconds, and /proc is not read for that. */
    int waited = leaks_wait(tid, status, asleep / 10);
    while (waited == 0) {
        const uint64_t before = switches_of(tid);
        waited = leaks_wait(tid, status, asleep);
        if (waited == 0 && switches_of(tid) == before && leaks_state_of(tid, tid) != 'R') break;
    }
    return waited;
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
