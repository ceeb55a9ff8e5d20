/*
 * A dump: a dense image of this moment, written from within the dump signal's handler.
 */
#ifndef HEAPSUM_DUMP_H
#define HEAPSUM_DUMP_H

#include <stdint.h>

/* What was live when the last dump was written, in bytes. */
extern uint64_t dump_last_live_bytes;

/*
 * Writes a numbered dump into the output directory; it appears whole or not at all. Async-signal-safe; other threads
 * run on. A request while another thread writes becomes one more dump by that thread. Failures are counted.
 */
void dump_write(void);

/* An image was made: no dump of it is under way, whatever a fork may have copied. */
void dump_start(void);

#endif
