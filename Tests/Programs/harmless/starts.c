/* Starts a program in the ways that there are, for one that prints its environment: those that replace this process in
 * a child. `root` is first made the root, where it isn't "/". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
#if defined(__x86_64__)
extern int old_posix_spawn(
    pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const *, char *const *);
__asm__(".symver old_posix_spawn, posix_spawn@GLIBC_2.2.5");
#else
#define old_posix_spawn posix_spawn
#endif

static void end(int way) {
    printf("%d did not start\n", way);
    fflush(stdout);
    _exit(1);
}

static void wait_for(pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status)) printf("signal %d\n", WTERMSIG(status));
}

static void *start_with_many(void *program) { /* a large environment, on a small stack */
    char **many = malloc(20002 * sizeof *many), *words[] = {program, "many", NULL};
    size_t count = 0;
    for (char **at = environ; *at != NULL; at++) many[count++] = *at;
    while (count < 20000) many[count++] = "V=1";
    many[count] = NULL;
    pid_t child;
    if (posix_spawn(&child, program, NULL, NULL, words, many) != 0) end(99);
    wait_for(child);
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    char *root = arguments[1], *program = arguments[2], *name = arguments[3];
    if (strcmp(root, "/") != 0 && (chroot(root) != 0 || chdir("/") != 0)) return 3;
    for (int way = 0; way < 12; way++) {
        char number[8], *words[] = {program, number, NULL};
        snprintf(number, sizeof number, "%d", way);
        printf("way %d\n", way);
        fflush(stdout);
        pid_t child = 0;
        if (way >= 8) { /* made by libc */
            if (way == 8) posix_spawn(&child, program, NULL, NULL, words, environ);
            if (way == 9) posix_spawnp(&child, name, NULL, NULL, words, environ);
            if (way == 10) old_posix_spawn(&child, program, NULL, NULL, words, environ);
            if (way == 11) child = vfork();
            if (way == 11 && child == 0) {
                execve(program, words, environ);
                _exit(1);
            }
            wait_for(child);
            continue;
        }
        if ((child = fork()) == 0) {
            switch (way) {
                case 0: execve(program, words, environ); break;
                case 1: execv(program, words); break;
                case 2: execvp(name, words); break;
                case 3: execl(program, program, number, NULL); break;
                case 4: execle(program, program, number, NULL, environ); break;
                case 5: fexecve(open(program, O_RDONLY), words, environ); break;
                case 6: syscall(SYS_execve, program, words, environ); break;
                default: syscall(SYS_execveat, AT_FDCWD, program, words, environ, 0);
            }
            end(way);
        }
        wait_for(child);
    }
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    pthread_create(&thread, &small, start_with_many, program);
    pthread_join(thread, NULL);
    if (strcmp(root, "/") != 0) { /* libc's own shell */
        fflush(stdout);
        if (system("echo by system") != 0) puts("system failed");
        FILE *pipe = popen("echo by popen", "r");
        char line[64] = "";
        if (pipe == NULL || fgets(line, sizeof line, pipe) == NULL) puts("popen failed");
        printf("%s", line);
        if (pipe != NULL) pclose(pipe);
    }
    return 0;
}
