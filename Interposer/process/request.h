/*
 * A program's requests to the heaprun that started it.
 */
#ifndef HEAPSUM_REQUEST_H
#define HEAPSUM_REQUEST_H

/*
 * Asks heaprun for a dump with a verdict, and waits for it. 1: blocks are definitely lost; 0: none is; -1: there is no
 * verdict, or an incomplete one. Signals are handled meanwhile. Keeps errno.
 */
int request_leaks(void);

#endif
