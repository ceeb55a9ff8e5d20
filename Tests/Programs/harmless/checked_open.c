/* A preload in the manner of path sandboxes: open() is looked at under a lock, and the path is copied meanwhile. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int open(const char *path, int flags, ...) {
    static int (*next)(const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    pthread_mutex_lock(&lock);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "open");
    char *copy = strdup(path);
    int fd = next(copy, flags, mode);
    free(copy);
    pthread_mutex_unlock(&lock);
    return fd;
}

#ifdef PROGRAM
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(open("/etc/hostname", O_RDONLY) < 0); /* the child's first allocation is under the lock */
    waitpid(child, &status, 0);
    return printf("child %d\n", status) < 0;
}
#endif
