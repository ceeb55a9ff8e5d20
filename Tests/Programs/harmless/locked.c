/* Holds a POSIX lock on its own file, and starts programs from that file: whoever opens and closes it in this process
 * takes the lock away. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void ask(const char *when, const char *path) {
    pid_t me = getpid(), child;
    fflush(stdout);
    if ((child = fork()) == 0) {
        struct flock lock = {.l_type = F_WRLCK};
        fcntl(open(path, O_RDONLY), F_GETLK, &lock);
        printf("%s: %s\n", when, lock.l_type == F_UNLCK ? "not locked" : lock.l_pid == me ? "locked by me" : "locked");
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "again") == 0) {
        ask("behind exec", arguments[0]);
        return 0;
    }
    if (count > 1) return 0;
    struct flock lock = {.l_type = F_RDLCK};
    int fd = open(arguments[0], O_RDONLY);
    if (fcntl(fd, F_SETLK, &lock) != 0) return 2;
    free(malloc(10));
    char *words[] = {arguments[0], "helper", NULL};
    pid_t child;
    if (posix_spawn(&child, arguments[0], NULL, NULL, words, environ) != 0) return 3;
    waitpid(child, NULL, 0);
    ask("behind posix_spawn", arguments[0]);
    execl(arguments[0], arguments[0], "again", NULL);
    return 4;
}
