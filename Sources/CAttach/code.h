/* The instructions of a call in a stopped thread, which differ between processors. call.c says how they are used. */
#ifndef HEAPSUM_ATTACH_CODE_H
#define HEAPSUM_ATTACH_CODE_H

#include "thread.h"

/* What the instructions of a call have to know. The answer's place is followed by a word that says that it is there,
 * and by the time to wait for the tool then. */
struct code_call {
    uint64_t code, stack, function, one, two, answer_at, frame;
};
/* Writes the instructions, at most 512 bytes from `code` on, and sets the registers to run them. */
int code_write(const struct attach_thread *thread, const struct code_call *call, struct user_regs_struct *registers);

#endif
