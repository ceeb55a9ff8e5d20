/*
 * Leaks 100,000 blocks in leak(), of 1 to 100 bytes and some large ones, while two threads churn; then ends in the way
 * that its argument names. "kill" waits, churning, to be killed. Says "leaked" when all of them are there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LEAKS 100000
static void *volatile kept[LEAKS];

__attribute__((noinline)) static void leak(int i) {
    kept[i] = malloc(i % 1000 == 0 ? 5000 + (size_t)i : 1 + (size_t)i % 100);
}

/* At most this thread's one block is ever live; its realloc moves it through all of the maps, by mremap at the end. */
__attribute__((noinline)) static void churn_once(unsigned round) {
    char *volatile block = malloc(16 + round % 64);
    for (size_t bytes = 100; bytes < 3000000; bytes = bytes * 3 + round % 7) block = realloc(block, bytes);
    free(block);
}

static void *churn(void *unused) {
    (void)unused;
    for (unsigned round = 0;; round++) churn_once(round);
    return NULL;
}

int main(int count, char **arguments) {
    const char *how = count > 1 ? arguments[1] : "return";
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < LEAKS; i++) leak(i);
    static const char said[] = "leaked\n";
    if (write(1, said, sizeof said - 1) < 0) return 9;
    if (strcmp(how, "return") == 0) return 3;
    if (strcmp(how, "exit") == 0) exit(4);
    if (strcmp(how, "_exit") == 0) _exit(5);
    if (strcmp(how, "quick_exit") == 0) quick_exit(6);
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "segv") == 0) *(volatile int *)8 = 1;
    if (strcmp(how, "exit_group") == 0) syscall(SYS_exit_group, 7);
    if (strcmp(how, "exec") == 0) execl("/bin/true", "true", (char *)NULL);
    if (strcmp(how, "kill-self") == 0) kill(getpid(), SIGKILL);
    churn(NULL);
    return 8;
}
