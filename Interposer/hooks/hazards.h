/*
 * Calls that would harm the recording, or the program by way of it.
 */
#ifndef HEAPSUM_HAZARDS_H
#define HEAPSUM_HAZARDS_H

/* mlockall(2), with errno. */
int hook_mlockall(int flags);

#endif
