/*
 * The resident set of the benchmark's own process.
 */
#ifndef RESIDENT_H
#define RESIDENT_H

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In kilobytes, as the kernel counts them; 0 where it does not say. By read alone: stdio would allocate. */
static uint64_t resident_kilobytes(void) {
    static char text[4096];
    int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    const char *rss = length > 0 ? strstr(text, "\nRss:") : NULL;
    return rss == NULL ? 0 : strtoull(rss + 5, NULL, 10);
}

#endif
