// A function for each operation that an expression of call frame information may have (DWARF 5, 2.5): where the
// caller's frame begins, only that operation says. It begins at the stack pointer + 32. At + 0 lies that address, at +
// 8 the number 32, and at + 24 the return address. Each function keeps a block, and prints nothing.
#include <assert.h>
#include <stdlib.h>

#define TEXT(...) #__VA_ARGS__

// SP is the stack pointer's number, BREG the operation for it and an offset, PC the number of the caller's pc.
#if defined(__x86_64__)
#define SP 7
#define BREG 0x77
#define PC "16"
#define TYPE "@function"
#define ENTER "sub $24, %rsp\n.cfi_def_cfa rsp, 32\n"
#define KEEP "lea 32(%rsp), %rax\nmov %rax, (%rsp)\nmovq $32, 8(%rsp)\ncall keep\n"
#define LEAVE "add $24, %rsp\n.cfi_def_cfa rsp, 8\n.cfi_restore 16\nret\n"
#else
#define SP 31
#define BREG 0x8F
#define PC "30"
#define TYPE "%function"
#define ENTER "sub sp, sp, 32\nstr x30, [sp, 24]\n.cfi_def_cfa sp, 32\n.cfi_offset x30, -8\n"
#define KEEP "add x0, sp, 32\nstr x0, [sp]\nmov x0, 32\nstr x0, [sp, 8]\nbl keep\n"
#define LEAVE "ldr x30, [sp, 24]\nadd sp, sp, 32\n.cfi_def_cfa sp, 0\n.cfi_restore x30\nret\n"
#endif

// `escape`: what the table says once the frame stands, and the length of the expression at its end.
#define FUNCTION(name, before, length, ...) \
    static_assert(sizeof((const unsigned char[]){__VA_ARGS__}) == (length), #name); \
    void name(void); \
    __asm__(".text\n.type " #name ", " TYPE "\n" #name ":\n.cfi_startproc\n" ENTER ".cfi_escape " before #length \
            ", " TEXT(__VA_ARGS__) "\n" KEEP LEAVE ".cfi_endproc\n.size " #name ", .-" #name "\n")

// The frame's beginning by an expression, the caller's pc in memory at one, and the caller's pc as the value of one.
#define BEGINNING(name, ...) FUNCTION(name, "0x0f, ", __VA_ARGS__);
#define SAVED(name, ...) FUNCTION(name, "0x10, " PC ", ", __VA_ARGS__);
#define VALUE(name, ...) FUNCTION(name, "0x16, " PC ", ", __VA_ARGS__);

static void *volatile kept;
__attribute__((used, noinline)) void keep(void) { kept = malloc(48); }

// 0x23: plus a constant. 0x22: plus.
#define FUNCTIONS(BEGINNING, SAVED, VALUE) \
    BEGINNING(op_breg, 2, BREG, 32) \
    BEGINNING(op_bregx, 3, 0x92, SP, 32) \
    BEGINNING(op_plus_uconst, 4, BREG, 0, 0x23, 32) \
    BEGINNING(op_deref, 3, BREG, 0, 0x06) \
    BEGINNING(op_deref_size, 7, BREG, 0, BREG, 8, 0x94, 1, 0x22) \
    BEGINNING(op_addr, 12, BREG, 0, 0x03, 32, 0, 0, 0, 0, 0, 0, 0, 0x22) \
    BEGINNING(op_const1u, 6, BREG, 0x80, 0x7F, 0x08, 160, 0x22) \
    BEGINNING(op_const1s, 6, BREG, 48, 0x09, 0xF0, 0x22, 0x96) \
    BEGINNING(op_const2u, 6, BREG, 0, 0x0A, 32, 0, 0x22) \
    BEGINNING(op_const2s, 6, BREG, 48, 0x0B, 0xF0, 0xFF, 0x22) \
    BEGINNING(op_const4u, 8, BREG, 0, 0x0C, 32, 0, 0, 0, 0x22) \
    BEGINNING(op_const4s, 8, BREG, 48, 0x0D, 0xF0, 0xFF, 0xFF, 0xFF, 0x22) \
    BEGINNING(op_const8u, 12, BREG, 0, 0x0E, 32, 0, 0, 0, 0, 0, 0, 0, 0x22) \
    BEGINNING(op_const8s, 12, BREG, 48, 0x0F, 0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x22) \
    BEGINNING(op_constu, 7, BREG, 0x80, 0x7F, 0x10, 0xA0, 1, 0x22) \
    BEGINNING(op_consts, 7, BREG, 0xA0, 1, 0x11, 0x80, 0x7F, 0x22) \
    BEGINNING(op_dup, 7, BREG, 0, 0x40, 0x12, 0x22, 0x22, 0x96) \
    BEGINNING(op_drop, 4, BREG, 32, 0x35, 0x13) \
    BEGINNING(op_over, 4, BREG, 32, 0x35, 0x14) \
    BEGINNING(op_pick, 6, BREG, 32, 0x35, 0x36, 0x15, 2) \
    BEGINNING(op_swap, 4, BREG, 32, 0x35, 0x16) \
    BEGINNING(op_rot, 6, 0x35, BREG, 32, 0x36, 0x17, 0x96) \
    BEGINNING(op_abs, 6, BREG, 0, 0x09, 0xE0, 0x19, 0x22) \
    BEGINNING(op_and, 8, BREG, 0, 0x08, 0x21, 0x08, 0xF0, 0x1A, 0x22) \
    BEGINNING(op_div, 8, BREG, 0, 0x09, 0xC0, 0x09, 0xFE, 0x1B, 0x22) \
    BEGINNING(op_minus, 4, BREG, 48, 0x40, 0x1C) \
    BEGINNING(op_mod, 8, BREG, 0, 0x08, 102, 0x08, 35, 0x1D, 0x22) \
    BEGINNING(op_mul, 6, BREG, 0, 0x34, 0x38, 0x1E, 0x22) \
    BEGINNING(op_neg, 6, BREG, 0, 0x09, 0xE0, 0x1F, 0x22) \
    BEGINNING(op_not, 6, BREG, 0, 0x09, 0xDF, 0x20, 0x22) \
    BEGINNING(op_or, 7, BREG, 0, 0x08, 32, 0x12, 0x21, 0x22) \
    BEGINNING(op_shl, 6, BREG, 0, 0x32, 0x34, 0x24, 0x22) \
    BEGINNING(op_shr, 7, BREG, 0, 0x08, 0x80, 0x32, 0x25, 0x22) \
    BEGINNING(op_shra, 7, BREG, 48, 0x09, 0x80, 0x33, 0x26, 0x22) \
    BEGINNING(op_xor, 7, BREG, 0, 0x41, 0x08, 0x31, 0x27, 0x22) \
    BEGINNING(op_bra_taken, 8, BREG, 32, 0x31, 0x28, 1, 0, 0x13, 0x96) \
    BEGINNING(op_bra_not_taken, 9, BREG, 32, 0x35, 0x30, 0x28, 1, 0, 0x13, 0x96) \
    BEGINNING(op_bra_back, 14, BREG, 0, 0x32, 0x31, 0x1C, 0x16, 0x23, 16, 0x16, 0x12, 0x28, 0xF6, 0xFF, 0x13) \
    BEGINNING(op_skip, 6, BREG, 32, 0x2F, 1, 0, 0x13) \
    BEGINNING(op_eq, 8, BREG, 0, 0x33, 0x33, 0x29, 0x35, 0x24, 0x22) \
    BEGINNING(op_ge, 9, BREG, 0, 0x31, 0x09, 0xFF, 0x2A, 0x35, 0x24, 0x22) \
    BEGINNING(op_gt, 9, BREG, 0, 0x31, 0x09, 0xFF, 0x2B, 0x35, 0x24, 0x22) \
    BEGINNING(op_le, 9, BREG, 0, 0x09, 0xFF, 0x31, 0x2C, 0x35, 0x24, 0x22) \
    BEGINNING(op_lt, 9, BREG, 0, 0x09, 0xFF, 0x31, 0x2D, 0x35, 0x24, 0x22) \
    BEGINNING(op_ne, 8, BREG, 0, 0x33, 0x34, 0x2E, 0x35, 0x24, 0x22) \
    SAVED(saved_at, 2, 0x38, 0x1C) \
    VALUE(value_is, 3, 0x38, 0x1C, 0x06)

FUNCTIONS(BEGINNING, SAVED, VALUE)

#define CALL(name, ...) name();
int main(void) { FUNCTIONS(CALL, CALL, CALL) }
