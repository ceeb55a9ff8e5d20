/*
 * Three blocks, and one more from a signal handler at each instruction of their allocation: the processor's trap flag
 * sends SIGTRAP after each. Prints how many the handler has allocated. Run it with an allocator that a signal may leave
 * at any point (bump.c).
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t steps;
static void *volatile kept;

static __attribute__((noinline)) void in_handler(void) {
    kept = malloc(24);
    steps++;
}
static void step(int signal) {
    (void)signal;
    in_handler();
}

/* Functions of their own, because a compiler may use the memory below the stack pointer. */
void trap_flag_on(void), trap_flag_off(void);
__asm__(".text\n"
        ".type trap_flag_on, @function\n"
        "trap_flag_on: pushfq\n"
        "    orq $0x100, (%rsp)\n"
        "    popfq\n"
        "    ret\n"
        ".size trap_flag_on, . - trap_flag_on\n"
        ".type trap_flag_off, @function\n"
        "trap_flag_off: pushfq\n"
        "    andq $~0x100, (%rsp)\n"
        "    popfq\n"
        "    ret\n"
        ".size trap_flag_off, . - trap_flag_off\n");

#define ALLOCATE(name) \
    static __attribute__((noinline)) void name(void) { \
        trap_flag_on(); \
        void *block = malloc(72); \
        trap_flag_off(); \
        kept = block; \
    }
ALLOCATE(first)
ALLOCATE(second)
ALLOCATE(third)

int main(void) {
    struct sigaction action = {.sa_handler = step};
    if (sigaction(SIGTRAP, &action, NULL) != 0) return 1;
    first();
    second();
    third();
    printf("%d\n", (int)steps);
    return 0;
}
