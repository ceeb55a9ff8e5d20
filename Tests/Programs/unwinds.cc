// Allocates from every kind of stack that there is, at random: through qsort and bsearch callbacks, exceptions thrown
// and caught, longjmp, signal handlers on the program's and on an alternate stack, alloca and variable-length arrays,
// realigned frames, coroutines, and threads that come and go. Its argument is the number of rounds.

#include <algorithm>
#include <alloca.h>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <map>
#include <memory>
#include <pthread.h>
#include <string>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

static thread_local uint64_t state = 88172645463325252ull;
static uint64_t next_random() {
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static __attribute__((noinline)) void touch() {
    void *volatile block = malloc(1 + next_random() % 300);
    if (next_random() % 4 == 0) block = realloc(block, 1 + next_random() % 3000);
    free(block);
}

static int compare(const void *a, const void *b) {
    if (next_random() % 8 == 0) touch();
    return *static_cast<const int *>(a) - *static_cast<const int *>(b);
}

static __attribute__((noinline)) void with_callbacks() {
    int numbers[24];
    for (int &number : numbers) number = int(next_random() % 1000);
    qsort(numbers, 24, sizeof(int), compare);
    int key = numbers[next_random() % 24];
    if (bsearch(&key, numbers, 24, sizeof(int), compare) == nullptr) abort();
    std::sort(numbers, numbers + 24, [](int a, int b) {
        if (next_random() % 16 == 0) touch();
        return a > b;
    });
}

struct Guard {
    std::string text;
    explicit Guard(size_t length) : text(length, 'x') {}
    ~Guard() { touch(); } // while an exception flies
};

static __attribute__((noinline)) void throwing(int depth) {
    Guard guard(20 + depth);
    if (depth == 0) throw std::string(40, 'e');
    throwing(depth - 1);
    touch();
}

static __attribute__((noinline)) void with_exceptions() {
    try {
        throwing(int(next_random() % 12));
    } catch (const std::string &) {
        touch();
    }
}

static __attribute__((noinline)) void jumping(jmp_buf &target, int depth) {
    touch();
    if (depth == 0 && next_random() != 0) longjmp(target, 1);
    if (depth < 0) return;
    jumping(target, depth - 1);
    touch();
}

static __attribute__((noinline)) void with_longjmp() {
    jmp_buf target;
    if (setjmp(target) == 0) jumping(target, int(next_random() % 10));
    touch();
}

static void on_signal(int) { touch(); }

static __attribute__((noinline)) void with_signal(int number) {
    touch();
    raise(number);
}

static __attribute__((noinline)) void with_alloca(int depth) {
    size_t length = 16 + next_random() % 700;
    volatile char *room = static_cast<volatile char *>(alloca(length));
    room[length - 1] = 1;
    char array[8 + next_random() % 100];
    memset(array, 0, sizeof array);
    touch();
    if (depth > 0) with_alloca(depth - 1);
    touch();
    __asm__ volatile("" : : "r"(array) : "memory");
}

// A frame that must lie on 32 bytes: the compiler realigns the stack.
#if defined(__x86_64__)
__attribute__((target("avx"), noinline))
#else
__attribute__((noinline))
#endif
static void
with_aligned_frame(int depth) {
#if defined(__x86_64__)
    alignas(32) volatile float lanes[8];
    __m256 value = _mm256_set1_ps(float(depth));
    _mm256_store_ps(const_cast<float *>(lanes), value);
#else
    alignas(64) volatile float lanes[16];
    lanes[next_random() % 16] = float(depth);
#endif
    touch();
    if (depth > 0) with_aligned_frame(depth - 1);
    __asm__ volatile("" : : "r"(lanes) : "memory");
    touch();
}

static ucontext_t main_context, coroutines[3];
static int coroutine_rounds;
static __attribute__((noinline)) void yield_deep(int self, int depth) {
    touch();
    if (depth > 0) {
        yield_deep(self, depth - 1);
        touch();
        return;
    }
    swapcontext(&coroutines[self], &main_context);
    touch();
}
static void coroutine(int self) {
    for (;;) yield_deep(self, int(next_random() % 6));
}

static __attribute__((noinline)) void with_coroutines() {
    static bool made;
    if (!made) {
        made = true;
        for (int i = 0; i < 3; i++) {
            getcontext(&coroutines[i]);
            coroutines[i].uc_stack.ss_size = 64 << 10;
            coroutines[i].uc_stack.ss_sp = malloc(64 << 10);
            makecontext(&coroutines[i], reinterpret_cast<void (*)()>(coroutine), 1, i);
        }
    }
    swapcontext(&main_context, &coroutines[next_random() % 3]);
    coroutine_rounds++;
}

template <typename T> static __attribute__((noinline)) void with_templates(int depth) {
    std::map<int, std::vector<T>> table;
    for (int i = 0; i < 4; i++) table[int(next_random() % 8)].resize(1 + next_random() % 5);
    std::function<void(int)> again = [&](int left) {
        auto shared = std::make_shared<std::string>(30, 'y');
        if (left > 0) again(left - 1);
    };
    again(depth);
}

static void *thread_body(void *seed) {
    state = reinterpret_cast<uintptr_t>(seed) * 0x9E3779B97F4A7C15ull + 1;
    for (int i = 0; i < 20; i++) {
        with_callbacks();
        with_exceptions();
        with_alloca(3);
        with_aligned_frame(3);
        with_templates<double>(3);
    }
    return nullptr;
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 1000;
    stack_t alternate = {};
    alternate.ss_size = 64 << 10;
    alternate.ss_sp = malloc(alternate.ss_size);
    sigaltstack(&alternate, nullptr);
    struct sigaction action = {};
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, nullptr);
    action.sa_flags = SA_ONSTACK;
    sigaction(SIGWINCH, &action, nullptr);
#if defined(__x86_64__)
    bool aligned = __builtin_cpu_supports("avx");
#else
    bool aligned = true;
#endif
    for (int round = 0; round < rounds; round++) {
        switch (next_random() % 9) {
            case 0: with_callbacks(); break;
            case 1: with_exceptions(); break;
            case 2: with_longjmp(); break;
            case 3: with_signal(SIGUSR1); break;
            case 4: with_signal(SIGWINCH); break;
            case 5: with_alloca(int(next_random() % 20)); break;
            case 6:
                if (aligned) with_aligned_frame(int(next_random() % 8));
                break;
            case 7: with_coroutines(); break;
            default: with_templates<std::string>(int(next_random() % 8));
        }
        if (round % 100 == 0) {
            pthread_t threads[2];
            for (uintptr_t i = 0; i < 2; i++)
                pthread_create(
                    &threads[i], nullptr, thread_body, reinterpret_cast<void *>(uintptr_t(round) * 2 + i + 1));
            for (pthread_t thread : threads) pthread_join(thread, nullptr);
        }
    }
    std::puts("done");
}
