/*
 * Code without call frame information. Built without frame pointers (NUMBERS) the register for them holds anything:
 * here an address in a list of numbers that differ from call to call. `past` is hand-written code that leaves its
 * callers' frame pointer standing, called directly or by a pointer: a guess by it names the caller's caller. `framed`
 * sets a frame pointer: a guess by that is right.
 */
#include <stdlib.h>
#include <string.h>

__attribute__((noinline)) void *leave(size_t bytes) {
    void *block = malloc(bytes);
    __asm__ volatile("" ::"r"(block) : "memory");
    return block;
}

#ifdef NUMBERS
__attribute__((noinline)) static int with_numbers(int call) {
    volatile long numbers[12];
    for (int i = 0; i < 12; i++) numbers[i] = 0x700000000L + call * 16 + i;
#if defined(__x86_64__)
    __asm__ volatile("movq %%rsp, %%rbx\n\tandq $-16, %%rsp\n\tmovq %0, %%rbp\n\tmovl $100, %%edi\n\tcall "
                     "leave\n\tmovq %%rbx, %%rsp" ::"r"(numbers)
                     : "rbx", "rbp", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory");
#else
    __asm__ volatile("mov x29, %0\n\tmov w0, 100\n\tbl leave" ::"r"(numbers)
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                     "x15", "x16", "x17", "x18", "x29", "x30", "memory");
#endif
    return (int)numbers[3];
}

int main(void) {
    int sum = 0;
    for (int i = 0; i < 1000; i++) sum += with_numbers(i);
    return sum & 0;
}
#else
void past(void);
void framed(void);
#if defined(__x86_64__)
__asm__(".text\n.type past, @function\npast:\n"
        "    subq $24, %rsp\n    movl $200, %edi\n    call leave\n    addq $24, %rsp\n    ret\n.size past, . - past\n");
__asm__(".text\n.type framed, @function\nframed:\n"
        "    pushq %rbp\n    movq %rsp, %rbp\n    movl $300, %edi\n    call leave\n    popq %rbp\n    ret\n.size "
        "framed, . - framed\n");
#else
__asm__(
    ".text\n.type past, %function\npast:\n"
    "    str x30, [sp, -32]!\n    mov w0, 200\n    bl leave\n    ldr x30, [sp], 32\n    ret\n.size past, . - past\n");
__asm__(".text\n.type framed, %function\nframed:\n"
        "    stp x29, x30, [sp, -16]!\n    mov x29, sp\n    mov w0, 300\n    bl leave\n    ldp x29, x30, [sp], 16\n"
        "    ret\n.size framed, . - framed\n");
#endif

__attribute__((noinline)) void middle(void (*function)(void)) {
    if (function != NULL) function();
    else past();
    __asm__ volatile("");
}
__attribute__((noinline)) void outer(void (*function)(void)) {
    middle(function);
    __asm__ volatile("");
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "past") == 0) {
        outer(NULL);
        outer(past);
    }
    if (count > 1 && strcmp(arguments[1], "framed") == 0) outer(framed);
    return 0;
}
#endif
