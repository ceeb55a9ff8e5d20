/*
 * The server that never said goodbye.
 *
 * Each request gets a thread of its own, the thread does its work, frees all that it took and returns.
 * The server's own code is without fault: every malloc here has its free. And yet it grows by some
 * kilobytes a request, and nothing that greps for malloc in the sources will say why.
 *
 * A thread that ends without being detached waits to be joined, and nobody joins these. Until then
 * glibc keeps what the thread was: its stack (mapped, so it doesn't count as heap) and its table of
 * thread-local storage, which pthread_create takes by calloc:
 *
 *     calloc <- allocate_dtv <- _dl_allocate_tls <- pthread_create <- accept_requests <- main
 *
 * The stack above names accept_requests, and that is where the cure goes: pthread_detach, or a thread
 * attribute that says so from the start, or a join.
 *
 * usage: unjoined-threads [seconds]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct request {
    unsigned number;
    char body[200];
};

static void *serve_request(void *argument) {
    struct request *request = argument;
    char *answer = malloc(4096);
    if (answer != NULL) snprintf(answer, 4096, "request %u: %zu bytes", request->number, strlen(request->body));
    free(answer);
    free(request);
    return NULL;
}

static __attribute__((noinline)) unsigned accept_requests(double seconds) {
    struct timespec start, now;
    unsigned served = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        struct request *request = malloc(sizeof *request);
        if (request == NULL) break;
        request->number = served;
        memset(request->body, 'x', sizeof request->body - 1);
        request->body[sizeof request->body - 1] = 0;

        /* Small stacks, so that a run of seconds stays polite to the machine. The mistake is below. */
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 64 * 1024);
        pthread_t thread;
        if (pthread_create(&thread, &attributes, serve_request, request) != 0) {
            free(request);
            pthread_attr_destroy(&attributes);
            break;
        }
        pthread_attr_destroy(&attributes);
        /* Here pthread_detach(thread) is missing. */
        served++;
        usleep(2000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    return served;
}

int main(int count, char **arguments) {
    unsigned served = accept_requests(count > 1 ? atof(arguments[1]) : 2);
    printf("served %u requests\n", served);
    return 0;
}
