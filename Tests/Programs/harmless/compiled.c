/* Code as a JIT compiler makes it, in memory of no module, that does not set the frame pointer: a guess by that leads
 * to its caller's caller. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

__attribute__((noinline)) void *leave(size_t bytes) {
    void *block = malloc(bytes);
    __asm__ volatile("" ::"r"(block) : "memory");
    return block;
}

__attribute__((noinline)) void middle(void (*compiled)(void)) {
    compiled();
    __asm__ volatile("");
}
__attribute__((noinline)) void outer(void (*compiled)(void)) {
    middle(compiled);
    __asm__ volatile("");
}

int main(void) {
    /* sub $24,%rsp; mov $400,%edi; movabs $leave,%rax; call *%rax; add $24,%rsp; ret */
    unsigned char code[] = {0x48, 0x83, 0xEC, 24, 0xBF, 0x90, 0x01, 0, 0, 0x48, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF,
        0xD0, 0x48, 0x83, 0xC4, 24, 0xC3};
    /* push %rbp; mov %rsp,%rbp; mov $500,%edi; movabs $leave,%rax; call *%rax; pop %rbp; ret */
    unsigned char framed[] = {
        0x55, 0x48, 0x89, 0xE5, 0xBF, 0xF4, 0x01, 0, 0, 0x48, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xD0, 0x5D, 0xC3};
    void *target = (void *)leave;
    memcpy(code + 11, &target, sizeof target);
    memcpy(framed + 11, &target, sizeof target);
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, code, sizeof code);
    memcpy(memory + 4096, framed, sizeof framed);
    void (*compiled)(void);
    *(void **)&compiled = memory;
    outer(compiled);
    *(void **)&compiled = memory + 4096;
    outer(compiled);
    return puts("run") < 0;
}
