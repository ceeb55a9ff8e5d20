/* The signal frame of a stopped thread: x86-64. See frame.h. */
#if defined(__x86_64__)

#include <errno.h>
#include <string.h>

#include "area.h"
#include "frame.h"

/* The kernel's layout (arch/x86/include/asm/sigframe.h), without the siginfo, which rt_sigreturn doesn't read. */
struct kernel_context {
    uint64_t flags, link;
    uint64_t stack_pointer, stack_flags, stack_size; /* stack_t */
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
    uint16_t cs, gs, fs, ss;
    uint64_t err, trapno, oldmask, cr2, vectors, reserved[8];
    uint64_t mask;
};
struct frame {
    uint64_t return_address;
    struct kernel_context context;
};
#define FRAME_BYTES ((sizeof(struct frame) + 15) / 16 * 16)
#define CONTEXT_FLAGS 7u     /* UC_FP_XSTATE, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS */
#define NO_STACK 0x40000000u /* flags of an alternate stack that the kernel refuses, and so leaves as it is */

/* What the kernel expects in the part of XSAVE's area that the processor leaves to software. */
struct vector_words {
    uint32_t magic, extended_bytes;
    uint64_t features;
    uint32_t bytes, padding[7];
};
#define VECTOR_WORDS_AT 464
#define VECTOR_MAGIC_1 0x46505853u
#define VECTOR_MAGIC_2 0x46505845u

/* Below the red zone, with the vectors aligned to a cache line. */
struct frame_place frame_on_stack(const struct frame_state *state) {
    uint64_t vectors = (state->saved->rsp - 128 - state->vector_bytes - 64) & ~63ull;
    return (struct frame_place){vectors - 64 - FRAME_BYTES, vectors};
}

struct frame_place frame_below(struct frame_place place) {
    return (struct frame_place){place.frame - FRAME_BYTES, place.vectors};
}

uint64_t frame_end(const struct frame_state *state) { return state->saved->rsp - 128; }

/* Of the vector registers, what goes into a frame. */
static size_t held_bytes(const struct frame_state *state) {
    return area_in_use(state->vectors, state->vector_bytes, area_parts());
}

bool frame_can_hold(const struct frame_state *state) { return held_bytes(state) != 0; }

struct frame_place frame_in_region(uint64_t at) {
    return (struct frame_place){at, at + 1024};
}
_Static_assert(1024 + REGISTERS_VECTORS_MOST + 4 <= FRAME_MOST, "room for the vectors");

int frame_write(const struct frame_state *state, struct frame_place place, const struct user_regs_struct *registers) {
    static _Thread_local uint8_t area[REGISTERS_VECTORS_MOST + 4];
    const size_t bytes = held_bytes(state);
    if (bytes == 0) return -EFAULT;
    memcpy(area, state->vectors, bytes);
    struct vector_words words = {VECTOR_MAGIC_1, (uint32_t)bytes + 4, 0, (uint32_t)bytes, {0}};
    /* The kernel has stored the processor's enabled features (XCR0) there. It takes those that the thread may use. */
    memcpy(&words.features, state->vectors + VECTOR_WORDS_AT, sizeof words.features);
    memcpy(area + VECTOR_WORDS_AT, &words, sizeof words);
    memcpy(area + bytes, &(uint32_t){VECTOR_MAGIC_2}, 4);
    if (frame_copy(state->tid, place.vectors, area, bytes + 4) != (ssize_t)bytes + 4) return -EFAULT;
    const struct user_regs_struct r = *registers;
    struct frame frame = {.return_address = state->code.signal_return,
        .context = {.flags = CONTEXT_FLAGS,
            .stack_flags = NO_STACK,
            .r8 = r.r8,
            .r9 = r.r9,
            .r10 = r.r10,
            .r11 = r.r11,
            .r12 = r.r12,
            .r13 = r.r13,
            .r14 = r.r14,
            .r15 = r.r15,
            .rdi = r.rdi,
            .rsi = r.rsi,
            .rbp = r.rbp,
            .rbx = r.rbx,
            .rdx = r.rdx,
            .rax = r.rax,
            .rcx = r.rcx,
            .rsp = r.rsp,
            .rip = r.rip,
            .eflags = r.eflags,
            .cs = (uint16_t)r.cs,
            .gs = (uint16_t)r.gs,
            .fs = (uint16_t)r.fs,
            .ss = (uint16_t)r.ss,
            .vectors = place.vectors,
            .mask = state->mask}};
    return frame_copy(state->tid, place.frame, &frame, sizeof frame) == sizeof frame ? 0 : -EFAULT;
}

void frame_set_system_call(struct user_regs_struct *registers, const struct leaks_code *code, uint64_t frame,
    long number, const uint64_t arguments[6]) {
    registers_set_call(registers, code->system_call, number, arguments);
    registers->rsp = frame;
}

#endif
