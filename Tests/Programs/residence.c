/*
 * A program whose memory is of every kind, each of a size of its own, and touched: blocks of malloc's on the heap, in
 * another thread's arena and in mappings of their own, two threads' stacks, memory of mmap's beside them, shared
 * memory, and a mapped file (its argument). Waits to be killed.
 */
#include <alloca.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MB (1 << 20)
static void *kept[4096];
static volatile int ready;

static void *thread(void *unused) {
    (void)unused;
    for (int i = 0; i < 3000; i++) kept[i] = memset(malloc(1000), 1, 1000); /* 3 MB in its arena */
    char *deep = alloca(2 * MB);
    memset(deep, 1, 2 * MB);
    __atomic_fetch_add(&ready, 1 + (deep[MB] != 1), __ATOMIC_RELEASE);
    pause();
    return NULL;
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    char *heap[1024];
    for (int i = 0; i < 1024; i++) heap[i] = memset(malloc(5000), 1, 5000); /* 5 MB */
    char *own = memset(malloc(7 * MB), 1, 7 * MB);
    char *mapped = mmap(NULL, 100 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, 11 * MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int file = open(arguments[1], O_RDONLY);
    char *text = mmap(NULL, 13 * MB, PROT_READ, MAP_PRIVATE, file, 0);
    if (mapped == MAP_FAILED || shared == MAP_FAILED || text == MAP_FAILED) return 1;
    memset(mapped, 1, 100 * MB);
    memset(shared, 1, 11 * MB);
    int sum = 0;
    for (int i = 0; i < 13 * MB; i += 4096) sum += text[i];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, thread, NULL);
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) < 2) usleep(1000);
    dprintf(1, "ready\n");
    pause();
    return heap[sum & 1023][0] + own[0];
}
