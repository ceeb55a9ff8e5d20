/*
 * A dump: a dense image of one moment, written in the dump signal's handler.
 */
#ifndef HEAPSUM_DUMP_H
#define HEAPSUM_DUMP_H

#include <stdint.h>

/* The live bytes when the last dump was written. */
extern uint64_t dump_last_live_bytes;

/*
 * Writes a numbered dump into the output directory; it appears whole or not at all. Other threads keep running. A
 * request while another thread writes becomes one more dump by that thread. Failures are counted in the image.
 * Async-signal-safe; keeps errno.
 */
void dump_write(void);

/* Resets the state for a new image: in a fork's child the copied state may say that a dump is in progress. */
void dump_start(void);

#endif
