/*
 * Locks its memory, by name or by number, as it is started or as nobody, with a limit in kilobytes or (-1) the one that
 * stands: prints what the kernel says, and whether about as much is locked as it has itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static long locked_kilobytes(void) {
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) sscanf(line, "VmLck: %ld", &kilobytes);
    if (file != NULL) fclose(file);
    return kilobytes;
}

int main(int count, char **arguments) {
    char *block = malloc(1 << 20);
    if (count != 4 || block == NULL) return 2;
    long kilobytes = atol(arguments[2]);
    if (kilobytes >= 0) {
        struct rlimit limit = {(rlim_t)kilobytes << 10, (rlim_t)kilobytes << 10};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 3;
    }
    if (strcmp(arguments[3], "nobody") == 0 && geteuid() == 0 && setuid(65534) != 0) return 4;
    int flags = MCL_CURRENT | MCL_FUTURE;
    errno = 0;
    long result = strcmp(arguments[1], "name") == 0 ? mlockall(flags) : syscall(SYS_mlockall, flags);
    int why = errno;
    long locked = locked_kilobytes();
    printf("%ld %s %s\n", result, result != 0 ? strerror(why) : "",
        locked == 0                            ? "none"
            : locked >= 1024 && locked < 16384 ? "its own"
                                               : "other");
    char *later = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%s\n", later == MAP_FAILED ? "refused" : locked_kilobytes() >= locked + 1024 ? "locked" : "not locked");
    return 0;
}
