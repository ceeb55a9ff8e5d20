/*
 * Many threads at the end: 5 that wait with a block of 300 bytes each, and 50 that ended with one of 100 bytes each.
 * Ends by exit, or as another program. usage: crowded threads|exec
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_barrier_t all;

static void *waiting(void *nothing) {
    char *volatile own = malloc(300);
    memset(own, 1, 300);
    pthread_barrier_wait(&all);
    pause();
    return own[3] == 2 ? own : nothing;
}

static void *ended(void *nothing) {
    char *volatile own = malloc(100);
    own[0] = 1;
    return own[0] == 2 ? own : nothing;
}

int main(int count, char **arguments) {
    pthread_t thread;
    pthread_barrier_init(&all, NULL, 6);
    for (int i = 0; i < 50; i++) {
        pthread_create(&thread, NULL, ended, NULL);
        pthread_join(thread, NULL);
    }
    for (int i = 0; i < 5; i++) pthread_create(&thread, NULL, waiting, NULL);
    pthread_barrier_wait(&all);
    if (count > 1 && strcmp(arguments[1], "exec") == 0) execl("/bin/sh", "sh", "-c", "exit 3", (char *)NULL);
    exit(3);
}
