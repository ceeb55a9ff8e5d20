/*
 * A file of a wheel is installed as it is, and can't be a link. So that a wheel holds the 20 MB of the tools only once,
 * five of the six names are this program: it becomes the file `heapsum` that lies beside it, which takes the tool from
 * the first argument. It is static and needs no libc.
 */
#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov %rsp, %rdi\nandq $-16, %rsp\ncall launch\n");
static long call(long number, long one, long two, long three) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(one), "S"(two), "d"(three) : "rcx", "r11", "memory");
    return result;
}
enum { write_number = 1, execve_number = 59, exit_number = 60, readlink_number = 89 };
static long read_link(const char *path, char *out, long room) {
    return call(readlink_number, (long)path, (long)out, room);
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x0, sp\nbl launch\n");
static long call4(long number, long one, long two, long three, long four) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = one;
    register long x1 __asm__("x1") = two;
    register long x2 __asm__("x2") = three;
    register long x3 __asm__("x3") = four;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
static long call(long number, long one, long two, long three) { return call4(number, one, two, three, 0); }
enum { write_number = 64, execve_number = 221, exit_number = 93, readlinkat_number = 78 };
static long read_link(const char *path, char *out, long room) {
    return call4(readlinkat_number, -100, (long)path, (long)out, room);
}
#else
#error "write _start and the system calls of this architecture"
#endif

/* heaprun's exit status for what it could not start; the other tools' names end here only if files are missing. */
static __attribute__((noreturn)) void fail(const char *text, long length) {
    call(write_number, 2, (long)text, length);
    for (;;) call(exit_number, 125, 0, 0);
}
#define FAIL(text) fail(text, sizeof(text) - 1)

/* The kernel's start of a program: the number of arguments, the arguments, NULL, the environment, NULL. */
__attribute__((noreturn, used)) void launch(long *stack) {
    static char own[4096], file[4096 + 16];
    static const char name[] = "heapsum";
    char **arguments = (char **)(stack + 1), **environment = arguments + stack[0] + 1;
    long length = read_link("/proc/self/exe", own, sizeof own - 1), folder = length;
    if (length <= 0 || length >= (long)sizeof own - 1) FAIL("heapsum: can't read /proc/self/exe\n");
    while (folder > 0 && own[folder - 1] != '/') folder--;
    for (long i = 0; i < folder; i++) file[i] = own[i];
    for (unsigned i = 0; i < sizeof name; i++) file[folder + i] = name[i];
    /* The tool by this file's name, because a caller may pass any. */
    if (stack[0] > 0) arguments[0] = own;
    call(execve_number, (long)file, (long)arguments, (long)environment);
    FAIL("heapsum: the file heapsum is not beside this one, or can't be run\n");
}
