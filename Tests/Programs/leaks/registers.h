// FORGET_REGISTERS: behind it, the compiler has kept nothing in a register.
#if defined(__aarch64__)
#define FORGET_REGISTERS \
    __asm__ volatile("" \
                     : \
                     : \
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", \
                     "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", \
                     "memory")
#else
#define FORGET_REGISTERS \
    __asm__ volatile( \
        "" \
        : \
        : \
        : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory")
#endif
