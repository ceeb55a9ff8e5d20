/*
 * Allocates by C++'s operators and containers, in threads of small stacks too, and throws exceptions, also out of an
 * operator. Prints what each function holds: its name, its blocks, and their bytes, or - if they are the runtime's to
 * choose. Ends with status 7. Built for musl, with libc++ and with libstdc++.
 */
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <new>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <vector>

#define APART __attribute__((noinline))

struct item {
    char bytes[40];
};
struct closed {
    char bytes[24];
    ~closed() { bytes[0] = 0; }
};
struct alignas(64) wide {
    char bytes[128];
};

static item *items[1000], *small[300];
static closed *arrays[50];
static wide *wides[20];
static std::exception_ptr *exceptions;
static std::vector<std::string> *names;
static std::map<int, int> *numbers;
static item *of_threads[8][100];
static int caught;

/* Keeps the compiler from leaving an allocation out. */
template <typename T> static T *used(T *block) {
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

/* Frees a block and forgets it: another block may get its address, and would seem to be held. */
template <typename T, typename F> static void drop(T *&entry, F free) {
    free(entry);
    entry = nullptr;
}

APART static void make_items() {
    for (auto &entry : items) entry = used(new item);
    for (int i = 0; i < 300; i++) drop(items[i], [](item *block) { delete block; });
}
APART static void make_without_throwing() {
    for (auto &entry : small) entry = used(new (std::nothrow) item);
    for (int i = 0; i < 100; i++) drop(small[i], [](item *block) { operator delete(block, std::nothrow); });
}
APART static void make_arrays() {
    for (auto &entry : arrays) entry = used(new closed[3]);
    for (int i = 0; i < 10; i++) drop(arrays[i], [](closed *block) { delete[] block; });
}
APART static void make_wide() {
    for (auto &entry : wides) entry = used(new wide);
    for (int i = 0; i < 5; i++) drop(wides[i], [](wide *block) { delete block; });
}
APART static void lose_items() {
    for (int i = 0; i < 60; i++) used(new item);
}
APART static void fill_names() {
    names = new std::vector<std::string>;
    names->reserve(200);
    for (int i = 0; i < 200; i++) names->push_back(std::string(100, 'x'));
}
APART static void fill_numbers() {
    numbers = new std::map<int, int>;
    for (int i = 0; i < 250; i++) (*numbers)[i * 7] = i;
    for (int i = 0; i < 50; i++) numbers->erase(i * 7);
}
APART static void keep_exceptions() {
    for (int i = 0; i < 30; i++) exceptions[i] = std::make_exception_ptr(i);
}

APART static void throw_from(int depth) {
    item *block = used(new item);
    if (depth == 0) {
        delete block;
        throw std::runtime_error("thrown by " + std::to_string(depth));
    }
    try {
        throw_from(depth - 1);
    } catch (...) {
        delete block;
        throw;
    }
}
APART static void throw_often(int times) {
    for (int i = 0; i < times; i++) try {
            throw_from(5);
        } catch (const std::runtime_error &) {
            __atomic_fetch_add(&caught, 1, __ATOMIC_RELAXED);
        }
}
/* The exception passes through whatever replaces the operator. */
APART static void ask_for_too_much() {
    volatile std::size_t much = SIZE_MAX / 4;
    for (int i = 0; i < 50; i++) {
        try {
            used(new char[much]);
        } catch (const std::bad_alloc &) {
            caught++;
        }
        if (used(new (std::nothrow) char[much]) == nullptr) caught++;
    }
}

struct owned {
    item *block = used(new item);
    ~owned() { delete block; }
};
static thread_local owned of_thread;

APART static void make_in_thread(long thread) {
    for (auto &entry : of_threads[thread]) entry = used(new item);
    throw_often(20);
}
static void *run_thread(void *thread) {
    of_thread.block->bytes[0] = 1;
    make_in_thread((long)thread);
    return nullptr;
}
APART static bool run_threads() {
    pthread_attr_t attributes;
    pthread_t threads[8];
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 32 << 10);
    for (long i = 0; i < 8; i++)
        if (pthread_create(&threads[i], &attributes, run_thread, (void *)i) != 0) return false;
    for (auto &thread : threads) pthread_join(thread, nullptr);
    return true;
}

int main() {
    exceptions = new std::exception_ptr[30];
    make_items();
    make_without_throwing();
    make_arrays();
    make_wide();
    fill_names();
    fill_numbers();
    keep_exceptions();
    lose_items();
    throw_often(500);
    ask_for_too_much();
    if (!run_threads()) return 1;
    std::printf("make_items 700 %d\nmake_without_throwing 200 %d\n", 700 * 40, 200 * 40);
    std::printf("make_arrays 40 %d\nmake_wide 15 %d\n", 40 * (3 * 24 + 8), 15 * 128);
    std::printf("fill_names 202 -\nfill_numbers 201 -\nkeep_exceptions 30 -\n");
    std::printf("lose_items 60 %d\nmake_in_thread 800 %d\n", 60 * 40, 800 * 40);
    std::printf("throw_often 0 0\nask_for_too_much 0 0\n");
    std::fflush(stdout);
    std::fprintf(stderr, "%d exceptions caught\n", caught);
    return 7;
}
