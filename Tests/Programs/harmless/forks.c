/* One thread starts programs that are not there, or not for this machine; another forks children that start none, and
 * look at what descriptors they have. Prints how many of those had one more than their parent. */
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int over;

static void *start(void *argument) {
    while (!over) {
        execl("./no-program", "no-program", (char *)NULL);
        execl("/etc/hostname", "hostname", (char *)NULL);
    }
    return argument;
}

static int descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 64; fd++) {
        char path[32], target[8];
        sprintf(path, "/proc/self/fd/%d", fd);
        if (readlink(path, target, sizeof target) >= 0) count++;
    }
    return count;
}

int main(void) {
    pthread_t thread;
    int before = descriptors(), more = 0, status;
    pthread_create(&thread, NULL, start, NULL);
    for (int i = 0; i < 1500; i++) {
        pid_t child = fork();
        if (child == 0) _exit(descriptors() - before);
        waitpid(child, &status, 0);
        more += WEXITSTATUS(status) != 0;
    }
    over = 1;
    pthread_join(thread, NULL);
    printf("%d\n", more);
    return 0;
}
