// Stacks that formats of other tools find hard: recursion by two functions, names with parentheses and blanks, a
// function that is a thread's first and is called too, functions that are inlined, and blocks that come and go.

#include <cstdlib>
#include <pthread.h>
#include <vector>

static std::vector<void *> kept;

__attribute__((noinline)) static void keep(size_t bytes) { kept.push_back(malloc(bytes)); }

namespace {
template <typename Number> struct Space {
    __attribute__((noinline)) void operator()(Number bytes, const char *) const {
        keep(bytes);
        asm volatile("");
    }
};
} // namespace

static void descend(int depth);

__attribute__((noinline)) static void climb(int depth) {
    keep(100 + depth);
    if (depth > 0) descend(depth - 1);
    asm volatile("");
}

__attribute__((noinline)) static void descend(int depth) {
    if (depth > 0) climb(depth - 1);
    keep(1000);
    asm volatile("");
}

static inline __attribute__((always_inline)) void inlinedTwice(size_t bytes) { keep(bytes); }

__attribute__((noinline)) static void passing(void) {
    // The peak is in here, and then it is gone.
    void *large[50];
    for (void *&block : large) block = malloc(20000);
    for (void *block : large) free(block);
    for (int index = 0; index < 1000; index++) {
        void *volatile temporary = malloc(32);
        free(temporary);
    }
}

static void *work(void *depth) {
    climb((int)(long)depth);
    asm volatile("");
    return nullptr;
}

int main() {
    kept.reserve(4096);
    work((void *)5l);
    pthread_t thread;
    pthread_create(&thread, nullptr, work, (void *)3l);
    pthread_join(thread, nullptr);
    passing();
    Space<unsigned long>()(5000, "x");
    inlinedTwice(11);
    inlinedTwice(22);
    return 0;
}
