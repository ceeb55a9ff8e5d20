/*
 * Modules that come while an attached recording is under way, and functions that are looked up by name.
 */
#ifndef HEAPSUM_LATE_H
#define HEAPSUM_LATE_H

#include "hooks/redirect.h"

/* From here on dlsym answers hooks, and new modules are redirected when it is called; until late_stop. */
void late_start(const struct redirection *redirections, size_t count);
void late_stop(void);

#endif
