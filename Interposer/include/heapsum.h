/*
 * What a program can ask of heapsum while it is recorded. If it is not recorded, nothing happens. The names are weak,
 * so a program links no library, and each call costs one test. Use position-independent code (the default of most
 * compilers): in other executables a linker may resolve weak names to nothing for good.
 *
 * For C and C++, from any thread. Only heapsum_dump may be called in a signal handler.
 */
#ifndef HEAPSUM_H
#define HEAPSUM_H

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

#ifdef __cplusplus
}
#endif

/* A weak function that isn't there is a null pointer. Inside its own macro a name means the function. */
#define heapsum_dump() ((void)(heapsum_dump ? (heapsum_dump(), 0) : 0))
#define heapsum_mark(name) ((void)(heapsum_mark ? (heapsum_mark(name), 0) : 0))
#define heapsum_pause() ((void)(heapsum_pause ? (heapsum_pause(), 0) : 0))
#define heapsum_resume() ((void)(heapsum_resume ? (heapsum_resume(), 0) : 0))

#endif
