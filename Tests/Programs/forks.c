/*
 * Forks as many children as its argument says, eight at a time, while four threads allocate. Of three children one ends
 * at once, one leaves five blocks of 32 bytes in child_leaves() and ends, one execs /bin/true. Says how many ended
 * well.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int stop;
static void *volatile kept[5];

__attribute__((noinline)) static void child_leaves(void) {
    for (int i = 0; i < 5; i++) kept[i] = malloc(32);
}

static void *churn(void *unused) {
    unsigned size = 1;
    while (!atomic_load(&stop)) {
        void *volatile block = malloc(size = size * 7 % 4001 + 1);
        if (size % 3 == 0) block = realloc(block, size * 2 + 1);
        free(block);
    }
    return unused;
}

int main(int count, char **arguments) {
    int children = count > 1 ? atoi(arguments[1]) : 30, well = 0, status;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < children + 8; i++) {
        if (i >= 8 && wait(&status) > 0 && status == 0) well++;
        if (i >= children) continue;
        pid_t pid = fork();
        if (pid < 0) return 1;
        if (pid > 0) continue;
        if (i % 3 == 1) child_leaves();
        if (i % 3 == 2) execl("/bin/true", "true", (char *)NULL);
        _exit(i % 3 == 2 ? 8 : 0);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("%d of %d ended well\n", well, children);
    return 0;
}
