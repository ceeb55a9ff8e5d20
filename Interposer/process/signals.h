/*
 * The dump signal, and the program's own use of it.
 */
#ifndef HEAPSUM_SIGNALS_H
#define HEAPSUM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* An image was made: takes the dump signal where the program has not, and notes in the image who has it. */
void signals_start(void);

/* sigaction for the dump signal, as the program sees it: its own action, which may not be the one that stands in the
 * kernel's table. */
int signals_act(int signal, const struct sigaction *action, struct sigaction *before);

/*
 * A program that ignores the dump signal hands that on to what it starts, and a handler is not handed on: so for the
 * time of the exec the kernel's table says what the program believes. signals_hand_on returns whether there is
 * something to take back should the exec fail, or once another process was started. For a vfork's child, too.
 */
bool signals_hand_on(void);
void signals_take_back(bool handed_on);

#endif
