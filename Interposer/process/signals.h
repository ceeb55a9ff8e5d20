/*
 * The dump signal, and the program's own use of it.
 */
#ifndef HEAPSUM_SIGNALS_H
#define HEAPSUM_SIGNALS_H

/* An image was made: takes the dump signal where the program has not, and notes in the image who has it. */
void signals_start(void);

#endif
