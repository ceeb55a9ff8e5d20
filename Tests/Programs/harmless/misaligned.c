/* Calls with the stack eight bytes off what the ABI asks for, as hand-written assembly and JIT compilers make them;
 * each in a child. */
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

long oddly(void *function, long a, long b, long c);
__asm__(".text\n.globl oddly\noddly:\n"
        "    pushq %rbp\n    movq %rsp, %rbp\n    andq $-16, %rsp\n    subq $8, %rsp\n"
        "    movq %rdi, %r11\n    movq %rsi, %rdi\n    movq %rdx, %rsi\n    movq %rcx, %rdx\n"
        "    xorl %eax, %eax\n    call *%r11\n    leave\n    ret\n");

static char *words[] = {"true", NULL}, *env[] = {"A=1", NULL};

static int run(int number) {
    void *block = malloc(10);
    struct sigaction action;
    switch (number) {
        case 0: return oddly(malloc, 100, 0, 0) == 0;
        case 1: return oddly(calloc, 10, 10, 0) == 0;
        case 2: return oddly(realloc, (long)block, 1000, 0) == 0;
        case 3: oddly(free, (long)block, 0, 0); return 0;
        case 4: return (int)oddly(posix_memalign, (long)&block, 64, 100);
        case 5: return oddly(aligned_alloc, 64, 128, 0) == 0;
        case 6: return oddly(memalign, 64, 128, 0) == 0;
        case 7: return oddly(reallocarray, 0, 10, 10) == 0;
        case 8: return (int)oddly(sigaction, SIGUSR2, 0, (long)&action);
        case 9: oddly(signal, SIGUSR2, (long)SIG_IGN, 0); return 0;
        case 10: return (int)oddly(prctl, PR_GET_DUMPABLE, 0, 0) != 1;
        case 11: oddly(execve, (long)"/bin/true", (long)words, (long)env); return 1;
        case 12: oddly(execvp, (long)"true", (long)words, 0); return 1;
        case 13: oddly(execl, (long)"/bin/true", (long)"true", 0); return 1;
        case 14: return (int)oddly(dlclose, (long)dlopen("libm.so.6", RTLD_NOW), 0, 0);
        default: return oddly(malloc, 1000000, 0, 0) == 0;
    }
}

int main(void) {
    for (int number = 0; number < 16; number++) {
        int status;
        pid_t child = fork();
        if (child == 0) _exit(run(number));
        waitpid(child, &status, 0);
        printf("%d: %s %d\n", number, WIFEXITED(status) ? "status" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        fflush(stdout);
    }
    return 0;
}
