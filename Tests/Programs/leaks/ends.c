/*
 * Ends in a way of one's choice, with a block of 1,000 + SHAPE bytes that was last held by a local of main or of a
 * function that it called; or, as the clean counterpart, with the same block freed or held by something that outlives
 * main. usage: ends leak|clean SHAPE END
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct node {
    struct node *next;
    char *text;
};

void *held[4];                 /* outlives main; for all to see, or the compiler leaves it out */
_Thread_local void *of_thread; /* the main thread's, which is there up to the end */

__attribute__((noinline)) static void *block(int shape) { return memset(malloc(1000 + (size_t)shape), 1, 1000); }

__attribute__((noinline)) static long deep(int shape, int depth) {
    if (depth > 0) return deep(shape, depth - 1) + 1;
    char *local = block(shape);
    return local[5];
}

__attribute__((noinline)) static long in_array(int shape) {
    void *volatile array[32] = {0};
    array[17] = block(shape);
    return ((char *)array[17])[3];
}

__attribute__((noinline)) static long in_structure(int shape) {
    struct {
        long a;
        char *text;
        long b;
    } volatile local = {1, block(shape), 2};
    return local.text[2] + local.a + local.b;
}

__attribute__((noinline)) static long in_list(int shape) {
    struct node *volatile list = malloc(sizeof *list);
    list->next = NULL;
    list->text = block(shape);
    return list->text[9];
}

__attribute__((noinline)) static long in_room(int shape) {
    char **room = __builtin_alloca(256);
    memset(room, 0, 256);
    room[11] = block(shape);
    return room[11][1];
}

static void *worker(void *argument) {
    char *local = block(*(int *)argument);
    return (void *)(long)(local[4] == 77);
}

__attribute__((noinline)) static long in_thread(int shape) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, NULL, worker, &shape);
    pthread_join(thread, &result);
    return (long)result;
}

__attribute__((noinline)) static long grown(int shape) {
    char *local = NULL;
    for (int i = 1; i <= 10; i++) local = realloc(local, (size_t)i * (100 + (size_t)shape / 10));
    local = realloc(local, 1000 + (size_t)shape);
    memset(local, 1, 1000);
    return local[7];
}

__attribute__((noinline)) static long overwritten(int shape) {
    char *volatile local = block(shape);
    local = NULL;
    return local == NULL;
}

static void *idle(void *nothing) {
    free(malloc(10));
    return nothing;
}

/* The same blocks with somebody who keeps them, or without. */
static void clean(int shape) {
    void *own = block(shape);
    switch (shape % 10) {
        case 0: free(own); break;
        case 1: held[0] = own; break;
        case 2: of_thread = own; break;
        case 3:
            held[1] = malloc(16);
            *(void **)held[1] = own;
            break;
        case 4: setvbuf(stdout, own, _IOFBF, 1000); break;
        case 5:
            free(own);
            setenv("SOME_VARIABLE", "of a value that is long enough for a block of its own", 1);
            break;
        case 6: {
            free(own);
            char *line = NULL;
            size_t room = 0;
            FILE *file = fopen("/proc/self/status", "r");
            if (file != NULL) {
                while (getline(&line, &room, file) > 0) {}
                fclose(file);
            }
            free(line);
            break;
        }
        case 7: free(realloc(own, 5000)); break;
        case 8: {
            pthread_key_t key;
            pthread_key_create(&key, free);
            pthread_setspecific(key, own);
            break;
        }
        default: {
            free(own);
            pthread_t thread;
            pthread_create(&thread, NULL, idle, NULL);
            pthread_join(thread, NULL);
            break;
        }
    }
}

__attribute__((noreturn)) static void finish(const char *end) {
    fflush(NULL);
    if (strcmp(end, "exit") == 0) exit(3);
    if (strcmp(end, "_exit") == 0) _exit(3);
    if (strcmp(end, "quick_exit") == 0) quick_exit(3);
    if (strcmp(end, "exit_group") == 0) syscall(SYS_exit_group, 3);
    if (strcmp(end, "abort") == 0) abort();
    if (strcmp(end, "SIGTERM") == 0) raise(SIGTERM);
    if (strcmp(end, "SIGSEGV") == 0) {
        /* A copy of a structure may have left a pointer in a vector register, which a running thread may still use. */
#if defined(__aarch64__)
        __asm__ volatile("movi v0.2d, #0\n movi v1.2d, #0" : : : "v0", "v1");
#else
        __asm__ volatile("pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1" : : : "xmm0", "xmm1");
#endif
        *(volatile int *)8 = 1;
    }
    if (strcmp(end, "exec") == 0) execl("/bin/sh", "sh", "-c", "exit 3", (char *)NULL);
    if (strcmp(end, "execvp") == 0) execlp("sh", "sh", "-c", "exit 3", (char *)NULL);
    if (strcmp(end, "pthread_exit") == 0) pthread_exit(NULL);
    _exit(99);
}

__attribute__((noinline)) static long leak(int shape) {
    switch (shape % 10) {
        case 0: return deep(shape, 0);
        case 1: return deep(shape, 20);
        case 2: return in_array(shape);
        case 3: return in_structure(shape);
        case 4: return in_list(shape);
        case 5: return in_room(shape);
        case 6: return in_thread(shape);
        case 7: return grown(shape);
        case 8: return overwritten(shape);
        default: return 0;
    }
}

int main(int count, char **arguments) {
    if (count < 4) return 98;
    int shape = atoi(arguments[2]);
    char *volatile local = NULL;
    if (strcmp(arguments[1], "clean") == 0) {
        clean(shape);
    } else if (leak(shape) == 0 && shape % 10 == 9) {
        local = block(shape);
        /* A signal ends main in the midst of its work: what its frame holds then is not lost. */
        if (arguments[3][0] == 'S' || arguments[3][0] == 'a') local = NULL;
    }
    if (strcmp(arguments[3], "return") == 0) return local == NULL || local[0] == 1 ? 3 : 4;
    finish(arguments[3]);
}
