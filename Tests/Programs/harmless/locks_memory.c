/* Locks its memory by mlockall with the flags that are given, as a user whose limit it keeps, and the image would not.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int count, char **arguments) {
    struct rlimit limit = {64 << 20, 64 << 20};
    setrlimit(RLIMIT_MEMLOCK, &limit);
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 1;
    int result = mlockall(atoi(arguments[count - 1]));
    printf("%d %s\n", result, result == 0 ? "" : strerror(errno));
    void *more = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("%s, %d\n", more == MAP_FAILED ? strerror(errno) : "mapped", munlockall());
    return 0;
}
