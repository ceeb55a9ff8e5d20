/* The signal frame of a stopped thread: AArch64. See frame.h. */
#if defined(__aarch64__)

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

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

struct frame_place frame_on_stack(const struct frame_state *state) {
    return (struct frame_place){(state->saved->sp - sizeof(struct kernel_frame)) & ~15ull, 0};
}

struct frame_place frame_below(struct frame_place place) {
    return (struct frame_place){place.frame - sizeof(struct kernel_frame), 0};
}

uint64_t frame_end(const struct frame_state *state) { return state->saved->sp; }

struct frame_place frame_in_region(uint64_t at) {
    return (struct frame_place){at, 0};
}

/* The bytes of the record for registers longer than 16 bytes; 0: they are not in use. */
static size_t long_bytes(const struct frame_state *state, uint16_t *length) {
    uint16_t flags;
    if (state->vector_kind == NT_PRFPREG) return 0;
    memcpy(length, state->vectors + 8, sizeof *length);
    memcpy(&flags, state->vectors + 12, sizeof flags);
    if ((flags & 1) == 0) return 0;
    /* 32 registers, 17 of an eighth of their length, behind a head of 16 bytes. */
    return (16 + 32 * (size_t)*length + 17 * (size_t)*length / 8 + 15) & ~(size_t)15;
}

/* Not in a frame of ours: registers of a matrix, the longest vector registers. Nor can it return where the processor
 * keeps a second stack of addresses. In a system call the former two are not in use. */
bool frame_can_hold(const struct frame_state *state) {
    static const int heads[] = {0x40B /* NT_ARM_SSVE */, 0x40C /* NT_ARM_ZA */};
    uint32_t bytes[4] = {0};
    uint16_t length;
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        struct iovec area = {bytes, sizeof bytes};
        if (ptrace(PTRACE_GETREGSET, state->tid, heads[i], &area) == 0 && bytes[0] > sizeof bytes) return false;
    }
    uint64_t features[3] = {0};
    struct iovec area = {features, sizeof features};
    if (ptrace(PTRACE_GETREGSET, state->tid, 0x410 /* NT_ARM_GCS */, &area) == 0 && features[0] & 1) return false;
    return long_bytes(state, &length) + sizeof(struct kernel_vectors) + sizeof(struct kernel_record)
        <= sizeof(((struct kernel_frame *)0)->records);
}

int frame_write(const struct frame_state *state, struct frame_place place, const struct user_regs_struct *registers) {
    const struct user_regs_struct r = *registers;
    struct kernel_frame frame = {
        .stack_flags = NO_STACK, .mask = state->mask, .sp = r.sp, .pc = r.pc, .state = r.pstate};
    for (int i = 0; i < 31; i++) frame.registers[i] = r.regs[i];
    struct kernel_vectors vectors = {.head = {VECTORS_MAGIC, sizeof vectors}};
    for (unsigned i = 0; i < 32; i++) {
        size_t at = registers_vector_at(state->vectors, state->vector_bytes, state->vector_kind, i);
        if (at == REGISTERS_NO_VECTOR) return -EFAULT;
        memcpy(vectors.registers[i], state->vectors + at, 16);
    }
    uint16_t length = 0;
    const size_t more = long_bytes(state, &length);
    /* Both status words lie behind all registers. */
    size_t status = state->vector_kind == NT_PRFPREG ? 512 : more == 0 ? 16 + 512 : more;
    if (status + 8 > state->vector_bytes || sizeof vectors + more + 8 > sizeof frame.records) return -EFAULT;
    memcpy(&vectors.status, state->vectors + status, 4);
    memcpy(&vectors.control, state->vectors + status + 4, 4);
    memcpy(frame.records, &vectors, sizeof vectors);
    if (more != 0) {
        const struct kernel_record head = {LONG_MAGIC, (uint32_t)more};
        uint8_t *record = frame.records + sizeof vectors;
        memcpy(record, &head, sizeof head);
        memcpy(record + sizeof head, &length, sizeof length);
        memcpy(record + 16, state->vectors + 16, more - 16);
    }
    return frame_copy(state->tid, place.frame, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

void frame_set_system_call(struct user_regs_struct *registers, const struct leaks_code *code, uint64_t frame,
    long number, const uint64_t arguments[6]) {
    registers_set_call(registers, code->system_call, number, arguments);
    registers->regs[30] = code->signal_return;
    registers->sp = frame;
}

#endif
