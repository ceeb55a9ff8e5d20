/*
 * One block a hiding place, true leaks among them. Each block has a size of its own; what is true of it is printed
 * before "ready", a line a block: size, verdict, place. Nothing else in the process holds the blocks' addresses: they
 * are made in functions of their own, and the stack is wiped behind them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../at_rest.h"

#define NOINLINE __attribute__((noinline))

static int next_bytes = 1008;
static atomic_int waiting;

static NOINLINE void *make(const char *verdict, const char *place) {
    int bytes = next_bytes;
    next_bytes += 16;
    printf("%d %s %s\n", bytes, verdict, place);
    return calloc(1, (size_t)bytes);
}

static NOINLINE void wipe(void) {
    char space[65536];
    memset(space, 0, sizeof space);
    __asm__ volatile("" : : "r"(space) : "memory");
}

static NOINLINE void sleep_for_ever(void) {
    waiting++;
    for (;;) pause();
}

/* Not static: a compiler leaves out what nobody reads. */
void *data = (void *)1;
void *bss;
_Thread_local void *tls;
struct __attribute__((packed)) {
    char one;
    void *unaligned;
} packed;
uintptr_t low_tag, high_tag, mangled, complement;
void *inside_of_array, *no_objects;

static void *page(int flags, int descriptor) { return mmap(0, 65536, PROT_READ | PROT_WRITE, flags, descriptor, 0); }

static NOINLINE void hide_in_data(void) {
    data = make("reachable", "initialized data");
    bss = make("reachable", "bss");
    tls = make("reachable", "static TLS of the main thread");
    packed.unaligned = make("possible", "an unaligned word");
    low_tag = (uintptr_t)make("possible", "a low tag bit") | 1;
    high_tag = (uintptr_t)make("possible", "high tag bits") | 0xABull << 56;
    uintptr_t guard, value = (uintptr_t)make("possible", "a mangled pointer");
    /* As setjmp and atexit do. */
#if defined(__aarch64__)
    guard = *(uintptr_t *)dlsym(RTLD_DEFAULT, "__pointer_chk_guard");
    mangled = value ^ guard;
#else
    __asm__("mov %%fs:0x30, %0" : "=r"(guard));
    value ^= guard;
    mangled = value << 17 | value >> 47;
#endif
    complement = ~(uintptr_t)make("definite", "a complement, which nothing finds");
    inside_of_array = (char *)make("possible", "a pointer to its inside") + 64;
    /* As C++ allocates an array of no objects that have a destructor: a count of 0, and a pointer to its end. */
    no_objects = (char *)calloc(1, 8) + 8;
    printf("8 reachable an array of no objects\n");
}

static NOINLINE void hide_in_mappings(void) {
    void **place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "an anonymous mapping");
    place = page(MAP_SHARED | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "a shared mapping");
    place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "a page without access");
    mprotect(place, 65536, PROT_NONE);
    place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "a read-only page");
    mprotect(place, 65536, PROT_READ);
    place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "a mapping that a fork leaves out");
    madvise(place, 65536, MADV_DONTFORK);
    place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("reachable", "a mapping that a fork finds empty");
    madvise(place, 65536, MADV_WIPEONFORK);
    place = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    place[100] = make("definite", "a mapping that is gone");
    munmap(place, 65536);
    size_t huge = 16 << 20;
    place = mmap(0, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(place, huge, MADV_HUGEPAGE);
    place[huge / 16] = make("reachable", "a large page");
}

static NOINLINE void hide_in_the_kernel(void) {
    int epoll = epoll_create1(0), event = eventfd(0, 0);
    struct epoll_event watched = {.events = EPOLLIN, .data.ptr = make("reachable", "epoll's data")};
    epoll_ctl(epoll, EPOLL_CTL_ADD, event, &watched);
    struct sigevent notify = {.sigev_notify = SIGEV_SIGNAL,
        .sigev_signo = SIGRTMIN + 3,
        .sigev_value.sival_ptr = make("reachable", "a timer's value")};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &notify, &timer);
}

/* Writes a block's address behind `before` bytes, and forgets it. */
static NOINLINE void send_away(int descriptor, size_t before, const char *verdict, const char *place) {
    char message[64] = {0};
    void *block = make(verdict, place);
    memcpy(message + before, &block, sizeof block);
    if (write(descriptor, message, before + sizeof block) < 0) abort();
    memset(message, 0, sizeof message);
    __asm__ volatile("" : : "r"(message) : "memory");
}

static NOINLINE void hide_on_the_way(void) {
    int ends[2];
    if (pipe(ends) != 0) abort();
    send_away(ends[1], 0, "reachable", "a pipe");
    send_away(ends[1], 8, "reachable", "a pipe, behind another message");
    if (pipe(ends) != 0) abort();
    send_away(ends[1], 3, "reachable", "a pipe, at an odd place");
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) abort();
    send_away(ends[1], 0, "reachable", "a unix socket");
    if (pipe(ends) != 0) abort();
    send_away(ends[1], 0, "definite", "a pipe that was read");
    char bytes[64];
    if (read(ends[0], bytes, sizeof bytes) != 8) abort();
    memset(bytes, 0, sizeof bytes);
    __asm__ volatile("" : : "r"(bytes) : "memory");
    if (pipe(ends) != 0) abort();
    send_away(ends[1], 0, "definite", "a pipe that nobody can read any more");
    close(ends[0]);
}

static pthread_key_t early_key, late_key;

static NOINLINE void hide_in_keys(void) {
    pthread_key_create(&early_key, 0);
    for (int i = 0; i < 40; i++) pthread_key_create(&late_key, 0);
    pthread_setspecific(early_key, make("reachable", "thread-specific data of the main thread"));
    pthread_setspecific(late_key, make("reachable", "thread-specific data of the second level"));
}

static NOINLINE void fill_thread(void) {
    tls = make("reachable", "static TLS of a thread");
    pthread_setspecific(early_key, make("reachable", "thread-specific data of a thread"));
}

static void *with_stack(void *unused) {
    fill_thread();
    wipe();
    void *volatile local = make("reachable", "a thread's stack");
    sleep_for_ever();
    return local == 0 ? unused : 0;
}

/* In a system call, with the address in a register alone. */
static void *with_register(void *unused) {
    uintptr_t block = (uintptr_t)make("reachable", "a register");
    wipe();
    waiting++;
    for (;;)
#if defined(__aarch64__)
        __asm__ volatile("mov x19, %0\n mov %0, #0\n mov x0, #0\n mov x1, #0\n mov x2, #0\n mov x3, #0\n mov x8, #73\n"
                         " svc #0\n mov %0, x19" /* ppoll */
                         : "+r"(block)
                         :
                         : "x0", "x1", "x2", "x3", "x8", "x19", "memory");
#else
        __asm__ volatile("mov %0, %%rbx\n xor %0, %0\n mov $34, %%eax\n syscall\n mov %%rbx, %0"
                         : "+r"(block)
                         :
                         : "rax", "rbx", "rcx", "r11", "memory");
#endif
    return unused;
}

static NOINLINE void *made_hidden(const char *place) { return make("reachable", place); }

static void *with_vector_register(void *unused) {
    uintptr_t block = (uintptr_t)made_hidden("a vector register");
#if defined(__aarch64__)
    __asm__ volatile("fmov d20, %0\n movi v0.2d, #0" : : "r"(block) : "v20", "v0");
#else
    __asm__ volatile("movq %0, %%xmm13\n pxor %%xmm0, %%xmm0" : : "r"(block) : "xmm13", "xmm0");
#endif
    block = 0;
    __asm__ volatile("" : "+r"(block));
    waiting++;
    for (;;)
#if defined(__aarch64__)
        __asm__ volatile("mov x0, #0\n mov x1, #0\n mov x2, #0\n mov x3, #0\n mov x8, #73\n svc #0"
                         :
                         :
                         : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x19", "x20", "x21", "memory");
#else
        __asm__ volatile("mov $34, %%eax\n syscall"
                         :
                         :
                         : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
#endif
    return unused;
}

#if defined(__aarch64__)
/* Functions keep the lower halves of v8 to v15 for their callers: also libc's, while it waits. */
static void *with_kept_vector(void *unused) {
    uintptr_t block = (uintptr_t)made_hidden("a vector register that functions keep");
    __asm__ volatile("fmov d9, %0" : : "r"(block) : "v9");
    block = 0;
    __asm__ volatile("" : "+r"(block));
    wipe();
    sleep_for_ever();
    return unused;
}
#endif

/* AArch64 has no red zone: there in a register, while the thread runs. */
static atomic_int is_spinning;
static NOINLINE void *with_red_zone(void *unused) {
    void *block = made_hidden("the red zone of a leaf function");
    wipe();
    is_spinning = 1;
    waiting++;
#if defined(__aarch64__)
    __asm__ volatile("1: b 1b" : "+r"(block) : : "memory");
#else
    __asm__ volatile("mov %0, -64(%%rsp)\n xor %0, %0\n1: pause\n jmp 1b" : "+r"(block) : : "memory");
#endif
    return unused;
}

static volatile long with_result_is;
static void *with_result(void *unused) {
    (void)unused;
    with_result_is = syscall(SYS_gettid);
    return make("reachable", "the result of a thread that is not joined");
}

static void *with_stale_stack(void *unused) {
    void *volatile locals[64];
    for (int i = 0; i < 64; i++) locals[i] = 0;
    locals[32] = make("definite", "the stack of a thread that is gone");
    return locals[0] == 0 ? unused : 0;
}

static void *with_library(void *symbol) {
    void (*hold)(size_t) = (void (*)(size_t))symbol;
    printf("%d reachable dynamic TLS of a thread\n", next_bytes);
    hold((size_t)next_bytes);
    next_bytes += 16;
    wipe();
    sleep_for_ever();
    return 0;
}

static ucontext_t main_context, coroutine;
static NOINLINE void on_coroutine(void) {
    void *volatile local = made_hidden("a coroutine's stack");
    swapcontext(&coroutine, &main_context);
    if (local == 0) abort();
}

static NOINLINE void hide_on_coroutine(void) {
    getcontext(&coroutine);
    coroutine.uc_stack.ss_sp = page(MAP_PRIVATE | MAP_ANONYMOUS, -1);
    coroutine.uc_stack.ss_size = 65536;
    coroutine.uc_link = &main_context;
    makecontext(&coroutine, on_coroutine, 0);
    swapcontext(&main_context, &coroutine);
}

/* By its complement: nobody may hold the address but what is tested. */
uintptr_t freed_holder;
static NOINLINE void leak(void) {
    void **holder = malloc(5008);
    holder[100] = make("definite", "a block that was freed");
    free(holder);
    void *volatile stale[64];
    for (int i = 0; i < 64; i++) stale[i] = 0;
    stale[7] = make("definite", "the stack below its pointer");
    (void)make("definite", "nowhere");
    freed_holder = ~(uintptr_t)stale[0];
}

static void start(void *(*body)(void *), void *argument, int waits) {
    pthread_t thread;
    int before = waiting;
    pthread_create(&thread, 0, body, argument);
    if (waits)
        while (waiting == before) usleep(1000);
    else pthread_join(thread, 0);
}

static NOINLINE void leave_unjoined(void) {
    pthread_t thread;
    pthread_create(&thread, 0, with_result, 0);
    while (with_result_is == 0) usleep(1000);
    wait_until_gone(with_result_is);
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    hide_in_data();
    hide_in_mappings();
    hide_in_the_kernel();
    hide_on_the_way();
    hide_in_keys();
    start(with_stack, 0, 1);
    start(with_register, 0, 1);
    start(with_vector_register, 0, 1);
#if defined(__aarch64__)
    start(with_kept_vector, 0, 1);
#endif
    start(with_red_zone, 0, 1);
    start(with_stale_stack, 0, 0);
    leave_unjoined();
    hide_on_coroutine();
    if (argc > 1) {
        void *library = dlopen(argv[1], RTLD_NOW);
        if (library == NULL) return 1;
        printf("%d reachable data of a loaded library\n", next_bytes);
        ((void (*)(size_t))dlsym(library, "library_hold"))((size_t)next_bytes);
        next_bytes += 16;
        start(with_library, dlsym(library, "library_hold_by_thread"), 1);
        printf("%d reachable dynamic TLS of the main thread\n", next_bytes);
        ((void (*)(size_t))dlsym(library, "library_hold_by_thread"))((size_t)next_bytes);
        next_bytes += 16;
    }
#if defined(__aarch64__)
    const int kept_vectors = 1;
#else
    const int kept_vectors = 0;
#endif
    /* Two wait with a stack and a register; one more with a vector register, and one with the library. */
    wait_for_threads(3 + kept_vectors + (argc > 1), 'S');
    leak();
    void *volatile local = make("reachable", "the main thread's stack");
    usleep(1000);
    puts("ready");
    for (;;)
        if (pause() == 0 && local == 0) return 0;
}
