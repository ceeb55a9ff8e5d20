/*
 * The parts of a call in a stopped thread that differ between processors: the signal frame from which the thread
 * restores itself, and the instructions that it runs. call.c says how they are used.
 */
#ifndef HEAPSUM_ATTACH_FRAME_H
#define HEAPSUM_ATTACH_FRAME_H

#include "thread.h"

/* Where a thread's state goes: the frame, and what lies apart from it (0: nothing). */
struct frame_place {
    uint64_t frame, vectors;
};

/* Below the thread's own stack pointer, where the kernel would put a signal's frame. */
struct frame_place frame_on_stack(const struct attach_thread *thread);
/* In the region, from `at` on; takes FRAME_MOST bytes. */
struct frame_place frame_in_region(uint64_t at);
#define FRAME_MOST 24576u

/* Writes the thread's state. -EFAULT: its memory can't be written. */
int frame_write(const struct attach_thread *thread, struct frame_place place);

/* Sets the registers for a system call that returns into a frame. */
void frame_set_system_call(struct user_regs_struct *registers, const struct attach_thread *thread, uint64_t frame,
    long number, const uint64_t arguments[6]);

/* What the instructions of a call have to know. The answer's place is followed by a word that says that it is there,
 * and by the time to wait for the tool then. */
struct frame_call {
    uint64_t code, stack, function, one, two, answer_at, frame;
};
/* Writes the instructions, at most 512 bytes from `code` on, and sets the registers to run them. */
int frame_write_call(
    const struct attach_thread *thread, const struct frame_call *call, struct user_regs_struct *registers);

#endif
