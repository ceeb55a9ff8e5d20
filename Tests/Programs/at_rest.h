/*
 * Waits for threads of this process, or for another process, to come to rest in the kernel: what they do before is over
 * then, however busy the machine is. After some minutes it aborts: a test ends, and says so. To be included once.
 */
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A thread's state, by the kernel: 'S' sleeps, 'D' sleeps uninterruptibly; 0 if it is gone. */
static int state_of(long process, long thread) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/stat", process, thread);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (length <= 0) return 0;
    text[length] = '\0';
    const char *end = strrchr(text, ')');
    return end == NULL ? 0 : end[2];
}

/* A turn of a wait; `turns` is its number. */
static int turn_of_wait(int turns) {
    if (turns > 100000) abort();
    usleep(1000);
    return turns + 1;
}

/* Until a process's first thread sleeps. */
static __attribute__((unused)) void wait_until_asleep(long process) {
    int turns = 0;
    for (int state; (state = state_of(process, process)) != 'S' && state != 0;) turns = turn_of_wait(turns);
}

/* Until a thread of this process sleeps. */
static __attribute__((unused)) void wait_for_thread(long thread) {
    for (int turns = 0; state_of(getpid(), thread) != 'S';) turns = turn_of_wait(turns);
}

/* Until a thread of this process is gone. */
static __attribute__((unused)) void wait_until_gone(long thread) {
    for (int turns = 0; state_of(getpid(), thread) != 0;) turns = turn_of_wait(turns);
}

/* Until as many other threads of this process as `count` are in that state. It allocates nothing, so that a recording
 * has nothing of it. */
static __attribute__((unused)) void wait_for_threads(int count, int state) {
    int turns = 0;
    for (int found = -1; found < count; turns = turn_of_wait(turns)) {
        char entries[4096];
        long length;
        int directory = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (found = 0; (length = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0;)
            for (long at = 0; at < length;) {
                struct {
                    unsigned long long inode, offset;
                    unsigned short bytes;
                    unsigned char type;
                    char name[];
                } *entry = (void *)(entries + at);
                long thread = atol(entry->name);
                if (thread > 0 && thread != getpid()) found += state_of(getpid(), thread) == state;
                at += entry->bytes;
            }
        close(directory);
    }
}
