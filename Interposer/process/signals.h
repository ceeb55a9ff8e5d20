/*
 * The dump signal, and the program's own use of that signal.
 */
#ifndef HEAPSUM_SIGNALS_H
#define HEAPSUM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "base/machine.h"

/* The dump signal, once it is taken; 0: none. */
extern HIDDEN int signals_number;

/* Called if the dump signal comes from outside and nothing is recorded. NULL: nothing happens then. */
extern HIDDEN void (*signals_unrecorded)(void);

/* After other options were read: the signal stays what it is. */
void signals_keep(void);

/* For a new image: takes the dump signal unless the program uses it, and notes in the image who has it. */
void signals_start(void);

/* sigaction for the dump signal, as the program should see it: it gets its own action, which may differ from the
 * kernel's table. Returns 0, or -1 with errno set. */
int signals_act(int signal, const struct sigaction *action, struct sigaction *before);

/*
 * Before and after an exec. A new program inherits an ignored signal but no handler, so during the exec the kernel's
 * table has to hold what the program believes to be there. signals_hand_on returns whether that must be undone if the
 * exec fails, or after another process was started. Works in a vfork's child too.
 */
bool signals_hand_on(void);
void signals_take_back(bool handed_on);

#endif
