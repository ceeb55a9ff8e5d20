/* Calls in a stopped thread: AArch64. See frame.h. */
#if defined(__aarch64__)

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "frame.h"

/* The kernel's layout (arch/arm64/include/uapi/asm/sigcontext.h, ucontext.h). */
struct kernel_record {
    uint32_t magic, bytes;
};
struct kernel_vectors {
    struct kernel_record head;
    uint32_t status, control;
    uint8_t registers[32][16];
};
struct kernel_frame {
    uint8_t information[128]; /* siginfo_t, which rt_sigreturn doesn't read */
    uint64_t flags, link;
    uint64_t stack_pointer, stack_flags, stack_size; /* stack_t */
    uint64_t mask;
    uint8_t unused[120] __attribute__((aligned(8)));
    uint64_t fault __attribute__((aligned(16)));
    uint64_t registers[31], sp, pc, state;
    uint8_t records[4096] __attribute__((aligned(16)));
};
_Static_assert(__builtin_offsetof(struct kernel_frame, fault) == 128 + 176, "the kernel's layout");
_Static_assert(__builtin_offsetof(struct kernel_frame, records) == 128 + 176 + 288, "the kernel's layout");
_Static_assert(sizeof(struct kernel_frame) <= FRAME_MOST, "room for a frame");
#define VECTORS_MAGIC 0x46508001u
#define LONG_MAGIC 0x53564501u /* struct sve_context */
#define NO_STACK 0x40000000u   /* flags of an alternate stack that the kernel refuses, and so leaves as it is */
#define BRANCH_TYPE 0xC00ull

struct frame_place frame_on_stack(const struct attach_thread *thread) {
    return (struct frame_place){(thread->saved.sp - sizeof(struct kernel_frame)) & ~15ull, 0};
}

struct frame_place frame_in_region(uint64_t at) {
    return (struct frame_place){at, 0};
}

/* The bytes of the record for registers longer than 16 bytes; 0: they are not in use. */
static size_t long_bytes(const struct attach_thread *thread, uint16_t *length) {
    uint16_t flags;
    if (thread->vector_kind == NT_PRFPREG) return 0;
    memcpy(length, thread->vectors + 8, sizeof *length);
    memcpy(&flags, thread->vectors + 12, sizeof flags);
    if ((flags & 1) == 0) return 0;
    /* 32 registers, 17 of an eighth of their length, behind a head of 16 bytes. */
    return (16 + 32 * (size_t)*length + 17 * (size_t)*length / 8 + 15) & ~(size_t)15;
}

bool attach_has_frame(const struct attach_thread *thread) {
    uint16_t length;
    return long_bytes(thread, &length) + sizeof(struct kernel_vectors) + sizeof(struct kernel_record)
        <= sizeof(((struct kernel_frame *)0)->records);
}

int frame_write(const struct attach_thread *thread, struct frame_place place) {
    const struct user_regs_struct r = registers_again(thread->tid, &thread->saved, &thread->before);
    struct kernel_frame frame = {
        .stack_flags = NO_STACK, .mask = thread->mask, .sp = r.sp, .pc = r.pc, .state = r.pstate};
    for (int i = 0; i < 31; i++) frame.registers[i] = r.regs[i];
    struct kernel_vectors vectors = {.head = {VECTORS_MAGIC, sizeof vectors}};
    for (unsigned i = 0; i < 32; i++) {
        size_t at = registers_vector_at(thread->vectors, thread->vector_bytes, thread->vector_kind, i);
        if (at == REGISTERS_NO_VECTOR) return -EFAULT;
        memcpy(vectors.registers[i], thread->vectors + at, 16);
    }
    uint16_t length = 0;
    const size_t more = long_bytes(thread, &length);
    /* Both status words lie behind all registers. */
    size_t status = thread->vector_kind == NT_PRFPREG ? 512 : more == 0 ? 16 + 512 : more;
    if (status + 8 > thread->vector_bytes || !attach_has_frame(thread)) return -EFAULT;
    memcpy(&vectors.status, thread->vectors + status, 4);
    memcpy(&vectors.control, thread->vectors + status + 4, 4);
    memcpy(frame.records, &vectors, sizeof vectors);
    if (more != 0) {
        const struct kernel_record head = {LONG_MAGIC, (uint32_t)more};
        uint8_t *record = frame.records + sizeof vectors;
        memcpy(record, &head, sizeof head);
        memcpy(record + sizeof head, &length, sizeof length);
        memcpy(record + 16, thread->vectors + 16, more - 16);
    }
    return attach_write(thread->plan.pid, place.frame, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

void frame_set_system_call(struct user_regs_struct *registers, const struct attach_thread *thread, uint64_t frame,
    long number, const uint64_t arguments[6]) {
    registers_set_call(registers, thread->plan.system_call, number, arguments);
    registers->regs[30] = thread->plan.signal_return;
    registers->sp = frame;
}

/*
 * The instructions of each call are the same, and what differs is data behind them: the processor's cache of
 * instructions is told of the first time that they are written, and needs not be again. ppoll as on x86-64, where a
 * comment says why.
 */
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        "attach_code:\n"
        "    ldr x16, 1f\n" /* __errno_location */
        "    blr x16\n"
        "    mov x19, x0\n"
        "    ldr w20, [x0]\n"
        "    ldr x0, 2f\n"
        "    ldr x1, 3f\n"
        "    ldr x16, 4f\n" /* the function */
        "    blr x16\n"
        "    ldr x9, 5f\n" /* the answer's place, and behind it that it is there */
        "    str x0, [x9]\n"
        "    str w20, [x19]\n"
        "    add x10, x9, #8\n"
        "    mov x11, #1\n"
        "    stlr x11, [x10]\n"
        "    mov x0, #0\n"
        "    mov x1, #0\n"
        "    add x2, x9, #16\n" /* the time to wait */
        "    mov x3, #0\n"
        "    mov x4, #8\n"
        "    mov x8, #73\n" /* ppoll */
        "    svc #0\n"
        "    ldr x9, 6f\n" /* the frame */
        "    mov sp, x9\n"
        "    mov x8, #139\n" /* rt_sigreturn */
        "    svc #0\n"
        ".balign 8\n"
        "1: .quad 0\n"
        "2: .quad 0\n"
        "3: .quad 0\n"
        "4: .quad 0\n"
        "5: .quad 0\n"
        "6: .quad 0\n"
        "attach_code_end:\n"
        ".popsection\n");
extern const uint8_t attach_code[] __attribute__((visibility("hidden")));
extern const uint8_t attach_code_end[] __attribute__((visibility("hidden")));

/* By ptrace, which tells the cache of instructions of it; process_vm_writev doesn't. */
static bool write_code(pid_t tid, uint64_t at, const uint8_t *code, size_t count) {
    for (size_t i = 0; i < count; i += 8) {
        uint64_t word;
        memcpy(&word, code + i, 8);
        if (ptrace(PTRACE_POKETEXT, tid, at + i, word) != 0) return false;
    }
    return true;
}

int frame_write_call(
    const struct attach_thread *thread, const struct frame_call *call, struct user_regs_struct *registers) {
    const uint64_t data[6] = {
        thread->plan.errno_location, call->one, call->two, call->function, call->answer_at, call->frame};
    const size_t bytes = (size_t)(attach_code_end - attach_code), count = bytes - sizeof data;
    uint64_t first;
    if (attach_read(thread->plan.pid, call->code, &first, 8) != 8
        || (first == 0 && !write_code(thread->tid, call->code, attach_code, count))
        || attach_write(thread->plan.pid, call->code + count, data, sizeof data) != sizeof data)
        return -EFAULT;
    registers->pc = call->code;
    registers->sp = call->stack;
    registers->pstate &= ~BRANCH_TYPE;
    registers->regs[29] = registers->regs[30] = 0;
    return 0;
}

#endif
