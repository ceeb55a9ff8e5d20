/*
 * Modules that are loaded during an attached recording, and functions that are looked up by name.
 */
#ifndef HEAPSUM_LATE_H
#define HEAPSUM_LATE_H

#include "hooks/redirect.h"

/* Until late_stop, dlsym returns hooks, and a call of it redirects new modules. */
void late_start(const struct redirection *redirections, size_t count);
void late_stop(void);

#endif
