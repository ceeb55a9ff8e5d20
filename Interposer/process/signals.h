/*
 * The dump signal, and the program's own use of it.
 */
#ifndef HEAPSUM_SIGNALS_H
#define HEAPSUM_SIGNALS_H

#include <signal.h>

/* An image was made: takes the dump signal where the program has not, and notes in the image who has it. */
void signals_start(void);

/* sigaction for the dump signal, as the program sees it: its own action, which may not be the one that stands in the
 * kernel's table. */
int signals_act(int signal, const struct sigaction *action, struct sigaction *before);

#endif
