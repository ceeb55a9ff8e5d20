// A thread opens a library whose constructor waits for a lock. The main thread holds it, and calls operator new for the
// first time: it must not wait for the loader, which waits for the constructor. With LIBRARY, the library.
#include <pthread.h>

extern pthread_mutex_t lock;
extern volatile int inside;

#ifdef LIBRARY
__attribute__((constructor)) static void start() {
    inside = 1;
    pthread_mutex_lock(&lock);
    pthread_mutex_unlock(&lock);
}
#else
#include <cstdio>
#include <dlfcn.h>
#include <new>
#include <unistd.h>

pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
volatile int inside;

static void *open_library(void *) {
    if (!dlopen("./constructor.so", RTLD_NOW)) std::puts(dlerror());
    return nullptr;
}

int main() {
    pthread_t thread;
    pthread_mutex_lock(&lock);
    pthread_create(&thread, nullptr, open_library, nullptr);
    while (!inside) usleep(1000);
    char *block = new (std::nothrow) char[100];
    pthread_mutex_unlock(&lock);
    pthread_join(thread, nullptr);
    delete[] block;
    std::puts("done");
}
#endif
