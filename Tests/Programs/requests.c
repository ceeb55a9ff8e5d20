/*
 * A program that tells Valgrind of its pools, in every way that valgrind.h has: for RequestTests. It prints what each
 * function keeps, by its own account, as "function bytes blocks". With -DLIBRARY it is a library of one such function.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <valgrind/memcheck.h>

#include "heapsum.h"

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noipa))
#endif

#ifdef LIBRARY

/* A name that each library has for itself. */
void LIBRARY(char *pool, char *area, int count);
NOINLINE void LIBRARY(char *pool, char *area, int count) {
    for (int i = 0; i < count; i++) VALGRIND_MEMPOOL_ALLOC(pool, area + i * 64, 40);
}

/* It runs before anybody else's code of this library. */
__attribute__((constructor)) static void first(void) {
    static char early[64];
    VALGRIND_MALLOCLIKE_BLOCK(early, 24, 0, 0);
}

#else

#ifdef LINKED
void linked_take(char *pool, char *area, int count);
#endif

#define AREA (16u << 20)
static char *area; /* pools take from here, and never give back */
static size_t used;

static char *cut(size_t bytes) {
    char *at = area + used;
    used += (bytes + 63) & ~(size_t)63;
    return at;
}

static void kept(const char *function, size_t bytes, size_t blocks) { printf("%s %zu %zu\n", function, bytes, blocks); }

/* ---- Each kind of request -------------------------------------------------------------------------------- */

NOINLINE static void take_hundreds(char *pool) {
    for (int i = 0; i < 100; i++) {
        char *block = cut(100);
        VALGRIND_MEMPOOL_ALLOC(pool, block, 100);
        if (i % 2) VALGRIND_MEMPOOL_FREE(pool, block);
    }
    kept("take_hundreds", 5000, 50);
}

NOINLINE static void take_and_destroy(char *pool, int count) {
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
    for (int i = 0; i < count; i++) VALGRIND_MEMPOOL_ALLOC(pool, cut(50), 50);
    VALGRIND_DESTROY_MEMPOOL(pool);
}

NOINLINE static void take_and_trim(char *pool) {
    char *start = cut(640);
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
    for (int i = 0; i < 10; i++) VALGRIND_MEMPOOL_ALLOC(pool, start + i * 64, 64);
    /* two whole ones, and the beginning of another */
    VALGRIND_MEMPOOL_TRIM(pool, start + 3 * 64, 2 * 64 + 32);
    kept("take_and_trim", 2 * 64 + 32, 3);
}

/* Valgrind 3.19 itself gives such a block a wrong size, and then stops. */
NOINLINE static void take_and_trim_front(char *pool) {
    char *start = cut(640);
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
    for (int i = 0; i < 10; i++) VALGRIND_MEMPOOL_ALLOC(pool, start + i * 64, 64);
    VALGRIND_MEMPOOL_TRIM(pool, start + 2 * 64 + 48, 16 + 2 * 64);
    kept("take_and_trim_front", 16 + 2 * 64, 3);
}

NOINLINE static void take_and_rename(char *pool, char *other) {
    VALGRIND_CREATE_MEMPOOL(pool, 0, 0);
    for (int i = 0; i < 5; i++) VALGRIND_MEMPOOL_ALLOC(pool, cut(40), 40);
    VALGRIND_MOVE_MEMPOOL(pool, other);
    /* the old name is another pool's now */
    take_and_destroy(pool, 7);
    kept("take_and_rename", 200, 5);
}

NOINLINE static char *take_to_change(char *pool) {
    char *block = NULL;
    for (int i = 0; i < 4; i++) VALGRIND_MEMPOOL_ALLOC(pool, block = cut(48), 48);
    return block;
}

NOINLINE static void change(char *pool) {
    char *block = take_to_change(pool);
    VALGRIND_MEMPOOL_CHANGE(pool, block, cut(80), 80);
    kept("take_to_change", 3 * 48, 3);
    kept("change", 80, 1);
}

NOINLINE static char *take_like_malloc(void) {
    char *block = NULL;
    for (int i = 0; i < 20; i++) {
        block = cut(30);
        VALGRIND_MALLOCLIKE_BLOCK(block, 30, 0, 0);
        if (i % 2 == 0) VALGRIND_FREELIKE_BLOCK(block, 0);
    }
    return block;
}

NOINLINE static void resize(void) {
    char *block = take_like_malloc();
    VALGRIND_RESIZEINPLACE_BLOCK(block, 30, 20, 0);
    kept("take_like_malloc", 9 * 30, 9);
    kept("resize", 20, 1);
}

NOINLINE static void take_in_pools_of_pools(char *pool) {
    VALGRIND_CREATE_MEMPOOL_EXT(pool, 0, 0, VALGRIND_MEMPOOL_METAPOOL | VALGRIND_MEMPOOL_AUTO_FREE);
    for (int i = 0; i < 2; i++) {
        char *outer = cut(1024);
        VALGRIND_MEMPOOL_ALLOC(pool, outer, 1024);
        for (int k = 0; k < 8; k++) VALGRIND_MALLOCLIKE_BLOCK(outer + 16 + k * 112, 100, 0, 0);
        if (i == 0) VALGRIND_MEMPOOL_FREE(pool, outer);
    }
    kept("take_in_pools_of_pools", 800, 8);
}

/* The functions of heapsum.h mean the same. */
NOINLINE static void take_and_drop(char *pool) {
    for (int i = 0; i < 12; i++) heapsum_pool_allocated(pool, cut(90), 90);
    heapsum_pool_destroyed(pool);
    for (int i = 0; i < 2; i++) heapsum_pool_allocated(pool, cut(90), 90);
    if (RUNNING_ON_VALGRIND == 0) kept("take_and_drop", 180, 2);
}

/* ---- Where a request may be ------------------------------------------------------------------------------ */

/* A leaf: its variables, and the request's words, lie in the red zone. */
NOINLINE static uint64_t take_in_leaf(char *pool, char *block, uint64_t seed) {
    volatile uint64_t words[6];
    for (int i = 0; i < 6; i++) words[i] = seed = seed * 6364136223846793005u + 1442695040888963407u;
    VALGRIND_MEMPOOL_ALLOC(pool, block, 32);
    for (int i = 0; i < 6; i++) seed ^= words[i] * (uint64_t)(i + 1);
    return seed;
}

static void leaves(char *pool) {
    uint64_t sum = 0;
    for (int i = 0; i < 300; i++) sum += take_in_leaf(pool, cut(32), (uint64_t)i);
    printf("sum %llx\n", (unsigned long long)sum);
    kept("take_in_leaf", 300 * 32, 300);
}

/* All registers and flags around a request, and the answer. */
struct registers {
    uint64_t words[14]; /* rax, rdx, rcx, rsi, rdi, r8 to r15, rbx */
    uint64_t flags;     /* CF, PF, AF, ZF, SF, OF: set before */
    uint64_t has_avx;
    uint8_t vectors[96]; /* ymm0, ymm5, ymm15 */
};

#if defined(__x86_64__)
void ask_with_registers(const struct registers *before, struct registers *after);
__asm__(".text\n"
        ".type ask_with_registers, @function\n"
        "ask_with_registers:\n"
        "    .cfi_startproc\n"
        "    pushq %rbp\n    .cfi_adjust_cfa_offset 8\n    .cfi_offset %rbp, -16\n"
        "    pushq %rbx\n    .cfi_adjust_cfa_offset 8\n    .cfi_offset %rbx, -24\n"
        "    pushq %r12\n    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r13\n    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r14\n    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r15\n    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rsi\n    .cfi_adjust_cfa_offset 8\n"
        "    movq %rdi, %rbp\n"
        "    cmpq $0, 120(%rbp)\n"
        "    je 1f\n"
        "    vmovdqu 128(%rbp), %ymm0\n"
        "    vmovdqu 160(%rbp), %ymm5\n"
        "    vmovdqu 192(%rbp), %ymm15\n"
        "1:  movq (%rbp), %rax\n    movq 8(%rbp), %rdx\n    movq 16(%rbp), %rcx\n"
        "    movq 24(%rbp), %rsi\n    movq 32(%rbp), %rdi\n    movq 40(%rbp), %r8\n"
        "    movq 48(%rbp), %r9\n    movq 56(%rbp), %r10\n    movq 64(%rbp), %r11\n"
        "    movq 72(%rbp), %r12\n    movq 80(%rbp), %r13\n    movq 88(%rbp), %r14\n"
        "    movq 96(%rbp), %r15\n    movq 104(%rbp), %rbx\n"
        "    pushfq\n    .cfi_adjust_cfa_offset 8\n"
        "    orq $0x8d5, (%rsp)\n"
        "    popfq\n    .cfi_adjust_cfa_offset -8\n"
        "    rolq $3, %rdi\n    rolq $13, %rdi\n    rolq $61, %rdi\n    rolq $51, %rdi\n"
        "    xchgq %rbx, %rbx\n"
        "    pushfq\n    .cfi_adjust_cfa_offset 8\n"
        "    movq 8(%rsp), %rbp\n" /* after */
        "    movq %rax, (%rbp)\n    movq %rdx, 8(%rbp)\n    movq %rcx, 16(%rbp)\n"
        "    movq %rsi, 24(%rbp)\n    movq %rdi, 32(%rbp)\n    movq %r8, 40(%rbp)\n"
        "    movq %r9, 48(%rbp)\n    movq %r10, 56(%rbp)\n    movq %r11, 64(%rbp)\n"
        "    movq %r12, 72(%rbp)\n    movq %r13, 80(%rbp)\n    movq %r14, 88(%rbp)\n"
        "    movq %r15, 96(%rbp)\n    movq %rbx, 104(%rbp)\n"
        "    popq 112(%rbp)\n    .cfi_adjust_cfa_offset -8\n"
        "    cmpq $0, 120(%rbp)\n"
        "    je 2f\n"
        "    vmovdqu %ymm0, 128(%rbp)\n"
        "    vmovdqu %ymm5, 160(%rbp)\n"
        "    vmovdqu %ymm15, 192(%rbp)\n"
        "    vzeroupper\n"
        "2:  popq %rsi\n    .cfi_adjust_cfa_offset -8\n"
        "    popq %r15\n    .cfi_adjust_cfa_offset -8\n"
        "    popq %r14\n    .cfi_adjust_cfa_offset -8\n"
        "    popq %r13\n    .cfi_adjust_cfa_offset -8\n"
        "    popq %r12\n    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbx\n    .cfi_adjust_cfa_offset -8\n    .cfi_restore %rbx\n"
        "    popq %rbp\n    .cfi_adjust_cfa_offset -8\n    .cfi_restore %rbp\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size ask_with_registers, . - ask_with_registers\n");

/* What differs, as bits. */
NOINLINE static uint64_t look_at_registers(char *pool, char *block) {
    volatile uint64_t words[6] = {VG_USERREQ__MEMPOOL_ALLOC, (uintptr_t)pool, (uintptr_t)block, 16};
    struct registers before = {.has_avx = (uint64_t)(__builtin_cpu_supports("avx") != 0)}, after = before;
    for (uint64_t i = 0; i < 14; i++) before.words[i] = 0x0101010101010101u * (i + 3);
    for (size_t i = 0; i < sizeof before.vectors; i++) before.vectors[i] = (uint8_t)(i * 7 + 1);
    before.words[0] = (uintptr_t)words;
    ask_with_registers(&before, &after);
    uint64_t differs = 0;
    for (int i = 0; i < 14; i++)
        if (before.words[i] != after.words[i]) differs |= 1ull << i;
    if ((after.flags & 0xD4) != 0xD4) differs |= 1ull << 16; /* a rotation changes CF, and OF is undefined */
    if (before.has_avx && memcmp(before.vectors, after.vectors, sizeof before.vectors) != 0) differs |= 1ull << 17;
    return differs;
}
#else
NOINLINE static uint64_t look_at_registers(char *pool, char *block) {
    VALGRIND_MEMPOOL_ALLOC(pool, block, 16);
    return 0;
}
#endif

#if defined(__x86_64__)
/* Without Valgrind a request reads no memory: these words begin at the end of a coroutine's stack, before a page that
 * can't be read, or in the middle of it. */
static ucontext_t outside, inside;
static uint64_t wild_words, wild_answer;
static void ask_wildly(void) {
    uint64_t answer = 42;
    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi; xchgq %%rbx, %%rbx"
                     : "+d"(answer)
                     : "a"(wild_words)
                     : "cc", "memory");
    wild_answer += answer;
    swapcontext(&inside, &outside);
}
static void wild(void) {
    const size_t room = 64u << 10, page = 4096;
    char *stack = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + room, page, PROT_NONE) != 0) exit(1);
    const uint64_t end = (uintptr_t)stack + room, words[] = {end, end - 8, end + 100, end - 200, 0, 8, UINT64_MAX};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        wild_words = words[i];
        getcontext(&inside);
        inside.uc_stack = (stack_t){.ss_sp = stack, .ss_size = room};
        inside.uc_link = NULL;
        makecontext(&inside, ask_wildly, 0);
        swapcontext(&outside, &inside);
    }
    printf("wild %d\n", (int)wild_answer);
    munmap(stack, room + page);
}
#else
static void wild(void) {}
#endif

static void registers(char *pool) {
    uint64_t differs = 0;
    for (int i = 0; i < 20; i++) differs |= look_at_registers(pool, cut(16));
    printf("registers %llx\n", (unsigned long long)differs);
    kept("look_at_registers", 320, 20);
}

/* A signal at each instruction of a request, and of what it leads to: the handler's blocks tell who was interrupted. */
static volatile sig_atomic_t steps;

NOINLINE static void keep_in_step(int signal) {
    static void *volatile block;
    (void)signal;
    block = malloc(24);
    if (block != NULL) steps++;
}

#if defined(__x86_64__)
void set_trap_flag(void);
void clear_trap_flag(void);
#define CHANGE_FLAG(name, change) \
    __asm__(".text\n" \
            ".type " #name ", @function\n" #name ":\n" \
            "    .cfi_startproc\n" \
            "    pushfq\n" \
            "    .cfi_adjust_cfa_offset 8\n" \
            "    " change ", (%rsp)\n" \
            "    popfq\n" \
            "    .cfi_adjust_cfa_offset -8\n" \
            "    ret\n" \
            "    .cfi_endproc\n" \
            ".size " #name ", . - " #name "\n")
CHANGE_FLAG(set_trap_flag, "orq $0x100");
CHANGE_FLAG(clear_trap_flag, "andq $~0x100");

NOINLINE static void step_through(char *pool, char *block, int steps_here) {
    struct sigaction action = {.sa_handler = keep_in_step};
    sigaction(SIGTRAP, &action, NULL);
    if (steps_here) set_trap_flag();
    VALGRIND_MEMPOOL_ALLOC(pool, block, 72);
    clear_trap_flag();
    printf("stepped %d\n", steps > 10 || !steps_here);
}
#else
static void step_through(char *pool, char *block, int steps_here) {
    (void)steps_here;
    VALGRIND_MEMPOOL_ALLOC(pool, block, 72);
}
#endif

static char *handlers_pool, *handlers_area;
static volatile sig_atomic_t handled;
#define HANDLED 200

NOINLINE static void take_in_handler(int signal) {
    (void)signal;
    if (handled >= HANDLED) return;
    VALGRIND_MEMPOOL_ALLOC(handlers_pool, handlers_area + handled * 64, 48);
    handled++;
}

/* Signals that come anywhere, within a request, too. */
NOINLINE static void take_under_signals(char *pool) {
    struct sigaction action = {.sa_handler = take_in_handler};
    struct itimerval every = {{0, 500}, {0, 500}};
    char *block = cut(64);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    while (handled < HANDLED) {
        VALGRIND_MEMPOOL_ALLOC(pool, block, 64);
        VALGRIND_MEMPOOL_FREE(pool, block);
    }
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    kept("take_in_handler", HANDLED * 48, HANDLED);
}

NOINLINE static void *take_in_thread(void *argument) {
    char *mine = argument;
    VALGRIND_CREATE_MEMPOOL(mine, 0, 0);
    for (int round = 0; round < 10; round++) {
        VALGRIND_CREATE_MEMPOOL(mine + 1, 0, 0);
        for (int i = 0; i < 1000; i++) VALGRIND_MEMPOOL_ALLOC(round == 9 ? mine : mine + 1, mine + (i + 1) * 64, 56);
        for (int i = 0; i < 1000 && round == 9; i += 2) VALGRIND_MEMPOOL_FREE(mine, mine + (i + 1) * 64);
        VALGRIND_DESTROY_MEMPOOL(mine + 1);
    }
    return NULL;
}

static void threads(void) {
    pthread_t all[4];
    for (int i = 0; i < 4; i++) pthread_create(&all[i], NULL, take_in_thread, cut(1001 * 64));
    for (int i = 0; i < 4; i++) pthread_join(all[i], NULL);
    kept("take_in_thread", 4 * 500 * 56, 4 * 500);
}

static void library(const char *path, const char *name, char *pool) {
    void *opened = dlopen(path, RTLD_NOW);
    void (*take)(char *, char *, int);
    if (opened == NULL) {
        puts(dlerror());
        exit(1);
    }
    *(void **)&take = dlsym(opened, name);
    take(pool, cut(64 * 30), 30);
    kept(name, 30 * 40, 30);
}

/* Whether this program's own code has been changed: its file has the same bytes. */
static int is_as_in_file(void) {
    static const unsigned char wanted[] = {
        0x48, 0xC1, 0xC7, 0x03, 0x48, 0xC1, 0xC7, 0x0D, 0x48, 0xC1, 0xC7, 0x3D, 0x48, 0xC1, 0xC7, 0x33};
    return memmem((const void *)take_hundreds, 256, wanted, sizeof wanted) != NULL;
}

#if defined(__x86_64__)
/* Runs the program again where nothing may be made executable, as with systemd's MemoryDenyWriteExecute. */
static void forbid(char **arguments) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
        execv(arguments[0], arguments);
    perror("seccomp");
    exit(1);
}
#endif

int main(int count, char **arguments) {
    static char pools[16];
#if defined(__x86_64__)
    if (count > 1 && strcmp(arguments[1], "forbid") == 0) {
        arguments[1] = arguments[0];
        forbid(arguments + 1);
    }
#endif
    area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return 1;
    VALGRIND_MAKE_MEM_NOACCESS(area, AREA);
    VALGRIND_CREATE_MEMPOOL(pools, 0, 0);
    take_hundreds(pools);
    take_and_destroy(pools + 1, 60);
    take_and_trim(pools + 2);
    take_and_rename(pools + 3, pools + 4);
    change(pools);
    resize();
    take_in_pools_of_pools(pools + 5);
    take_and_drop(pools + 7);
    leaves(pools);
    threads();
    if (RUNNING_ON_VALGRIND == 0) {
        registers(pools);
        wild();
        take_and_trim_front(pools + 6);
        /* not where libunwind is asked: it blocks the signal, which then ends the program */
        for (int i = 0; getenv("STEPS") != NULL && i < 3; i++) step_through(pools, cut(72), 1);
        if (getenv("STEPS") != NULL) kept("step_through", 3 * 72, 3);
        handlers_pool = pools;
        handlers_area = cut(64 * HANDLED);
        take_under_signals(pools);
        printf("exists %u\n", VALGRIND_MEMPOOL_EXISTS(pools));
    }
#ifdef LINKED
    linked_take(pools, cut(64 * 20), 20);
    kept("linked_take", 20 * 40, 20);
    kept("first", 24, 1);
#endif
    for (int i = 1; i + 1 < count; i += 2) library(arguments[i], arguments[i + 1], pools);
    for (int i = 1; i + 1 < count; i += 2) kept("first", 24, 1);
    /* standard error: what the test asks for, and no part of the output */
    fprintf(stderr, "code %s\n", is_as_in_file() ? "unchanged" : "changed");
    fflush(stdout);
    heapsum_dump();
    return 7;
}

#endif
