/*
 * The end of a program by exec, told to a heaprun that traces it (--leaks): it looks before the memory is gone.
 */
#ifndef HEAPSUM_LEAVING_H
#define HEAPSUM_LEAVING_H

/*
 * Tells the tracer that this process is about to become another program, and returns when it has looked. Does nothing
 * where nobody traces, or where this process has no image of its own (a vfork'd child). Keeps errno; may be called
 * between vfork and exec.
 */
void leaving_by_exec(void);

#endif
