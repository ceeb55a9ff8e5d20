/*
 * The longest malloc and free beside a writer that fsyncs: one thread replaces random blocks of a live set and times
 * each call, while a child of ours writes a megabyte and fsyncs, over and over. A tenth of the blocks are large, so
 * that the image's maps are all in use.
 *
 * Prints, in microseconds: the longest call, the time that all but one call in 10,000 stayed below, and the longest
 * time between two calls (the machine's own pauses, as no call is made there); then calls over 1 ms, and calls in all.
 *
 * usage: latency DIRECTORY SECONDS LIVE      (the writer's file lies in DIRECTORY)
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chains.h"
#include "latencies.h"

/* The child allocates nothing, so it has no image. */
static void write_and_sync(const char *directory) {
    static char path[4096], megabyte[1 << 20];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/written", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) _exit(1);
    for (unsigned i = 0;; i++) {
        memset(megabyte, (int)i, sizeof megabyte);
        if (pwrite(fd, megabyte, sizeof megabyte, (off_t)(i % 256) * (off_t)sizeof megabyte) < 0 || fsync(fd) != 0)
            _exit(1);
    }
}

int main(int count, char **arguments) {
    uint64_t live = count == 4 ? strtoull(arguments[3], NULL, 10) : 0,
             seconds = count == 4 ? strtoull(arguments[2], NULL, 10) : 0;
    if (live < 1 || seconds < 1) {
        fprintf(stderr, "usage: latency DIRECTORY SECONDS LIVE\n");
        return 64;
    }
    pid_t writer = fork();
    if (writer < 0) return 1;
    if (writer == 0) write_and_sync(arguments[1]);

    static struct latencies calls, pauses;
    latencies_clear(&calls);
    latencies_clear(&pauses);
    void **blocks = calloc(live, sizeof *blocks);
    if (blocks == NULL) return 1;
    uint64_t random = 88172645463325252u, over = 0, until = nanoseconds_now() + seconds * 1000000000u;
    for (uint64_t last = nanoseconds_now(); last < until;) {
        next_random(&random);
        void **slot = &blocks[(random >> 20) % live];
        size_t size = (random & 15) == 0 ? 512 + (random >> 8) % 16384 : 16 + (random >> 8) % 240;
        uint64_t start = nanoseconds_now();
        free(*slot);
        uint64_t middle = nanoseconds_now();
        *slot = even(10, (unsigned)(random >> 40) & 511, size);
        uint64_t end = nanoseconds_now();
        latencies_add(&pauses, start - last);
        latencies_add(&calls, middle - start);
        latencies_add(&calls, end - middle);
        over += (middle - start > 1000000) + (end - middle > 1000000);
        last = end;
    }
    int status;
    if (waitpid(writer, &status, WNOHANG) != 0) {
        fprintf(stderr, "latency: the writer could not write to %s\n", arguments[1]);
        return 1;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    printf("%.1f %.1f %.1f %llu %llu\n", (double)calls.longest / 1e3, (double)latencies_but_one_in(&calls, 10000) / 1e3,
        (double)pauses.longest / 1e3, (unsigned long long)over, (unsigned long long)calls.total);
    return 0;
}
