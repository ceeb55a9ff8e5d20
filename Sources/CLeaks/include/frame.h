/*
 * A signal frame with the state of a stopped thread, in the layout that the kernel writes before a signal handler:
 * frame_x86_64.c and frame_aarch64.c. A system call that a tracer puts into the thread returns into it, by the code for
 * rt_sigreturn, which gives the thread its registers, vector registers and signal mask back. So the thread finds home
 * by itself if the tracer is killed meanwhile.
 */
#ifndef HEAPSUM_LEAKS_FRAME_H
#define HEAPSUM_LEAKS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "leaks.h"
#include "registers.h"

/* What a frame is made of. */
struct frame_state {
    pid_t tid;              /* its memory is read and written by this number: the main thread may have ended */
    struct leaks_code code; /* both places are needed */
    uint64_t mask;          /* its blocked signals */
    const struct user_regs_struct *saved;
    const uint8_t *vectors; /* as registers_read_vectors has them */
    size_t vector_bytes;
    unsigned vector_kind;
};

/* Where it goes: the frame, and what lies apart from it (0: nothing). */
struct frame_place {
    uint64_t frame, vectors;
};

/* Below the thread's own stack pointer, where the kernel would put a signal's frame. */
struct frame_place frame_on_stack(const struct frame_state *state);
/* A second one, just below that. */
struct frame_place frame_below(struct frame_place place);
/* The end of what both take: what is above is in use. */
uint64_t frame_end(const struct frame_state *state);
/* In memory of the tracer's own, from `at` on; takes FRAME_MOST bytes. */
struct frame_place frame_in_region(uint64_t at);
#define FRAME_MOST 24576u
/* Bytes of the stack that must be free below a frame, beside as many as the vector registers take: for a signal. */
#define FRAME_ROOM 8192u

/* Whether a frame can have all of the thread's state. */
bool frame_can_hold(const struct frame_state *state);

/* Writes a frame with which the thread goes on with `registers`. -EFAULT: its memory can't be written. */
int frame_write(const struct frame_state *state, struct frame_place place, const struct user_regs_struct *registers);

/* Sets the registers for a system call that returns into a frame. */
void frame_set_system_call(struct user_regs_struct *registers, const struct leaks_code *code, uint64_t frame,
    long number, const uint64_t arguments[6]);

/* Writes memory of a thread's process. Returns the number of bytes, or a negative errno. */
ssize_t frame_copy(pid_t tid, uint64_t address, const void *buffer, size_t count);

#endif
