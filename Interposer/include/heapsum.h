/*
 * What a program can ask of heapsum while it is recorded. If it is not recorded, nothing happens. The names are weak,
 * so a program links no library, and each call costs one test. Use position-independent code (the default of most
 * compilers): in other executables a linker may resolve weak names to nothing for good.
 *
 * For C and C++, from any thread. Only heapsum_dump may be called in a signal handler.
 */
#ifndef HEAPSUM_H
#define HEAPSUM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes a dump, as the dump signal does, and returns when it is written. If another thread is writing one, one more
 * follows it. */
void heapsum_dump(void) __attribute__((weak));

/* Names this moment, in up to 39 bytes: `heapsum --since NAME` shows blocks allocated after it, `--until NAME` those
 * before. The newest 48 are kept. */
void heapsum_mark(const char *name) __attribute__((weak));

/*
 * From heapsum_pause() to heapsum_resume(), no thread's allocations are booked; they are only counted. Pauses nest. A
 * block that is already booked stays booked, and its free is booked.
 */
void heapsum_pause(void) __attribute__((weak));
void heapsum_resume(void) __attribute__((weak));

/*
 * Finds out which blocks are lost, and writes a dump that says so, as `heapdump --leaks` does. heaprun does it from
 * outside: the program stands still for some milliseconds, and this thread waits until the dump is written. Blocks that
 * only the callers' variables hold are reachable.
 *
 * 1: blocks are definitely lost; 0: none is; -1: there is no verdict (not recorded, no heaprun beside the program, not
 * traceable), or it is not whole.
 */
int heapsum_leaks(void) __attribute__((weak));

/* The block that holds this address is no leak, and what it leads to isn't either. The block alone is meant: what is
 * allocated at its address after it was freed counts again. */
void heapsum_ignore(const void *block) __attribute__((weak));

/* Memory from `start` on, of so many bytes, is looked through for pointers as a global variable is, wherever it lies:
 * in a pool of the program's own, say. Up to 256 at a time; heapsum_unroot takes one away, by the same bounds. */
void heapsum_root(const void *start, size_t bytes) __attribute__((weak));
void heapsum_unroot(const void *start, size_t bytes) __attribute__((weak));

#ifdef __cplusplus
}
#endif

/* A weak function that isn't there is a null pointer. Inside its own macro a name means the function. */
#define heapsum_dump() ((void)(heapsum_dump ? (heapsum_dump(), 0) : 0))
#define heapsum_mark(name) ((void)(heapsum_mark ? (heapsum_mark(name), 0) : 0))
#define heapsum_pause() ((void)(heapsum_pause ? (heapsum_pause(), 0) : 0))
#define heapsum_resume() ((void)(heapsum_resume ? (heapsum_resume(), 0) : 0))
#define heapsum_leaks() (heapsum_leaks ? heapsum_leaks() : -1)
#define heapsum_ignore(block) ((void)(heapsum_ignore ? (heapsum_ignore(block), 0) : 0))
#define heapsum_root(start, bytes) ((void)(heapsum_root ? (heapsum_root((start), (bytes)), 0) : 0))
#define heapsum_unroot(start, bytes) ((void)(heapsum_unroot ? (heapsum_unroot((start), (bytes)), 0) : 0))

#endif
