/*
 * Calls that are no allocation, but would harm the recording, or the program by way of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "atomics.h"
#include "hook.h"
#include "image.h"
#include "modules.h"
#include "next.h"
#include "start.h"


/* A module may go: its addresses will mean something else. */
EXPORT int dlclose(void *library) {
    if (!start_next()) return 0; /* inside dlsym's own preparations nothing of the program's is closed */
    int result = next.dlclose(library);
    int saved = errno;
    modules_changed();
    errno = saved;
    return result;
}

/* Locks each mapping of the process but the image, by /proc/self/maps: a line is "start-end rwxp …". */
static int lock_all_but(uintptr_t start, uintptr_t end) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    char buffer[512];
    uintptr_t bounds[2] = {0, 0};
    int field = 0, result = 0; /* 0 and 1: the bounds; 2: the first letter of the permissions; 3: the rest of the line */
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0)
        for (ssize_t i = 0; i < got; i++) {
            char c = buffer[i];
            if (c == '\n') {
                field = 0;
                bounds[0] = bounds[1] = 0;
            } else if (field < 2 && (c == '-' || c == ' ')) {
                field++;
            } else if (field < 2) {
                bounds[field] = bounds[field] << 4 | (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
            } else if (field == 2) {
                field = 3;
                bool overlaps = bounds[0] < end && start < bounds[1];
                /* As mlockall does, what can't be read has no pages to bring in; special mappings (vsyscall) refuse, and are nobody's loss. */
                if (!overlaps && c == 'r' && mlock((void *)bounds[0], bounds[1] - bounds[0]) != 0 && errno != ENOMEM) result = -1;
            }
        }
    close(fd);
    return result;
}

/* The image is mapped whole and mostly empty: to lock it would give memory to all of it. */
EXPORT int mlockall(int flags) {
    if (!start_next()) {
        errno = EAGAIN;
        return -1;
    }
    if (image.base == NULL || !(flags & MCL_CURRENT) || flags & ~(MCL_CURRENT | MCL_FUTURE)) return next.mlockall(flags);
    if (flags & MCL_FUTURE && next.mlockall(MCL_FUTURE) != 0) return -1;
    int cancellation = PTHREAD_CANCEL_ENABLE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellation); /* read() is a cancellation point, and mlockall is none */
    int result = lock_all_but((uintptr_t)image.base, (uintptr_t)image.base + image.bytes);
    pthread_setcancelstate(cancellation, NULL);
    return result;
}
