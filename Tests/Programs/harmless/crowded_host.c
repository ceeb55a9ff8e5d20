/* Three threads, each of which opens one of two plugins, calls it and closes it, by turns: plugins come to lie where
 * others were a moment before. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *work(void *number) {
    for (int i = 0; i < 500; i++) {
        char path[32];
        snprintf(path, sizeof path, "./plugin-%d-%d.so", (int)(long)number, i % 2);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) exit(2);
        void *block = ((void *(*)(int))dlsym(library, "make"))(50);
        ((void (*)(void *))dlsym(library, "take"))(block);
        dlclose(library);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[3];
    for (long i = 0; i < 3; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    return puts("used") < 0;
}
