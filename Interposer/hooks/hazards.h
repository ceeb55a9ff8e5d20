/*
 * Calls that would harm the recording, or that would harm the program because of the recording.
 */
#ifndef HEAPSUM_HAZARDS_H
#define HEAPSUM_HAZARDS_H

#include <sys/resource.h>

/* mlockall(2), setrlimit(2) and prlimit(2), with errno. */
int hook_mlockall(int flags);
int hook_setrlimit(unsigned resource, const struct rlimit *limit);
int hook_prlimit(pid_t process, unsigned resource, const struct rlimit *limit, struct rlimit *before);

#endif
