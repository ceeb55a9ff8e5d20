/*
 * Valgrind's client requests, under `heaprun --valgrind-requests`: where a program's code tells Valgrind of its pools,
 * it tells the recorder. The architecture's half finds the places in the code (x86_64/request_places.c).
 */
#ifndef HEAPSUM_REQUESTS_H
#define HEAPSUM_REQUESTS_H

#include <stdint.h>

/* A library was loaded by dlopen, and none of its code but functions that choose others (IFUNC) has run yet.
 * `address`: in its code. Called by the thread that opens it. */
void requests_opened(uintptr_t address);

/*
 * A request. `words`: its code and five arguments, as valgrind.h lays them down; `pc`, `sp` and `fp`: the registers of
 * the code that makes it, at the instruction behind the request. It answers nothing: without Valgrind each request
 * leaves its default, and the program must not see a difference. Async-signal-safe; keeps errno and vectors.
 */
void requests_take(uintptr_t words, uintptr_t pc, uintptr_t sp, uintptr_t fp);

#endif
