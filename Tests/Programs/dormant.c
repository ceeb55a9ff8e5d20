/*
 * A program that allocates only when it is told to. Commands, a line each, come on standard input, and each is answered
 * with a line; neither allocates:
 *
 *   take N    allocates N blocks of 777 bytes
 *   drop N    frees the N blocks that it took first
 *   tag NAME  sets a tag (heapsum_tag)
 *   fork      a child that takes commands from here on, until it is told to quit; its answers begin with "child"
 *   vfork     a vfork's child runs true
 *   exec      the program starts again
 *   quit
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heapsum.h"

static void *taken[65536];
static unsigned first, last;
static const char *who = "";

static void say(const char *text) {
    char line[64];
    int length = snprintf(line, sizeof line, "%s%s\n", who, text);
    if (write(1, line, (size_t)length) != length) _exit(3);
}

/* Byte by byte: the child reads on where the parent stopped. */
static int next_line(char *line, size_t room) {
    size_t at = 0;
    while (at + 1 < room && read(0, line + at, 1) == 1)
        if (line[at++] == '\n') {
            line[at - 1] = '\0';
            return 1;
        }
    return 0;
}

int main(int count, char **arguments) {
    char line[64], number[32];
    (void)count;
    say("ready");
    while (next_line(line, sizeof line)) {
        unsigned amount = (unsigned)strtoul(line + strcspn(line, " "), NULL, 10);
        if (strncmp(line, "take", 4) == 0) {
            for (unsigned i = 0; i < amount; i++) taken[last++ % 65536] = malloc(777);
            say("taken");
        } else if (strncmp(line, "drop", 4) == 0) {
            for (unsigned i = 0; i < amount; i++) free(taken[first++ % 65536]);
            say("dropped");
        } else if (strncmp(line, "tag ", 4) == 0) {
            heapsum_tag(line + 4);
            say("tagged");
        } else if (strcmp(line, "fork") == 0) {
            int status;
            pid_t child = fork();
            if (child == 0) {
                who = "child ";
                snprintf(number, sizeof number, "%d", (int)getpid());
                say(number);
                continue;
            }
            if (waitpid(child, &status, 0) != child || status != 0) return 4;
            say("joined");
        } else if (strcmp(line, "vfork") == 0) {
            int status;
            pid_t child = vfork();
            if (child == 0) {
                execl("/bin/true", "true", (char *)NULL);
                _exit(5);
            }
            if (waitpid(child, &status, 0) != child || status != 0) return 4;
            say("joined");
        } else if (strcmp(line, "exec") == 0) {
            execv("/proc/self/exe", arguments);
            return 5;
        } else if (strcmp(line, "quit") == 0) {
            say("bye");
            return *who ? 0 : 7;
        }
    }
    return 6;
}
