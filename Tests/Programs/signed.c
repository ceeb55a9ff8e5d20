// Stacks whose return addresses may be signed (AArch64, -mbranch-protection): plain recursion, a signal handler, and a
// fault in a function that has saved nothing, whose return address is in a register alone. Each keeps one block.
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

static void *volatile kept;

__attribute__((noinline)) void keep(size_t bytes) {
    kept = malloc(bytes);
    __asm__ volatile("");
}

__attribute__((noinline)) void down(int depth) {
    if (depth > 0) down(depth - 1);
    else keep(1000);
    __asm__ volatile("");
}

static void on_signal(int number) { keep(2000 + (size_t)number); }

__attribute__((noinline)) int leaf(const volatile int *at) { return *at + 1; }

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)info;
    keep(3000);
    ucontext_t *interrupted = context;
#if defined(__aarch64__)
    interrupted->uc_mcontext.pc += 4; // past the load
#else
    (void)interrupted;
    exit(0);
#endif
}

__attribute__((noinline)) int middle(const volatile int *at) {
    int result = leaf(at);
    __asm__ volatile("");
    return result + 1;
}

int main(void) {
    static char output[256]; // or printf would allocate
    setvbuf(stdout, output, _IOFBF, sizeof output);
    signal(SIGUSR1, on_signal);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    down(3);
    raise(SIGUSR1);
    printf("%d\n", middle((const volatile int *)(uintptr_t)16) > 0);
    return 0;
}
