/*
 * Blocks of 72 bytes, and of 24 bytes from a signal handler at each instruction of their allocation that is in
 * libheapsum: the processor's trap flag sends SIGTRAP after each instruction. At others the allocator may be in the
 * middle of its work. Prints how many blocks the handler has allocated. usage: counted_down TIMES
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static uintptr_t start, end; /* of the library's code */
static long steps;
static void *volatile kept;

static __attribute__((noinline)) void in_handler(void) {
    kept = malloc(24);
    steps++;
}
static void step(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    const uintptr_t pc = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    if (pc - start < end - start) in_handler();
}

static __attribute__((noinline)) void allocate(void) {
    __asm__ volatile("subq $128, %%rsp\n\t" /* below is memory that the compiler may use */
                     "pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\taddq $128, %%rsp" ::
                         : "memory", "cc");
    void *block = malloc(72);
    __asm__ volatile("subq $128, %%rsp\n\t"
                     "pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\taddq $128, %%rsp" ::
                         : "memory", "cc");
    kept = block;
}

static void find_library(void) {
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "/libheapsum.so") != NULL && strstr(line, " r-xp ") != NULL)
            sscanf(line, "%lx-%lx", &start, &end);
    if (maps != NULL) fclose(maps);
}

int main(int arguments, char **values) {
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    find_library();
    if (sigaction(SIGTRAP, &action, NULL) != 0 || arguments != 2) return 1;
    for (long i = atol(values[1]); i > 0; i--) allocate();
    printf("%ld\n", steps);
    return 0;
}
