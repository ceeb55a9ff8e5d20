/*
 * Announces an exec to a heaprun that traces this program (--leaks), so that it reads the memory before that is gone.
 */
#ifndef HEAPSUM_LEAVING_H
#define HEAPSUM_LEAVING_H

/*
 * Tells the tracer that this process is about to exec, and returns when the tracer has read the memory. Does nothing if
 * no tracer is there, or if this process has no image of its own (a vfork'd child). Keeps errno; may be called between
 * vfork and exec.
 */
void leaving_by_exec(void);

#endif
