/*
 * What system.h keeps.
 */
#include "base/system.h"

/*
 * The clock. libc's clock_gettime is a name that a program may define, and libraries that fake the time do: an image's
 * times are the kernel's. This is the vDSO's function, found at the start; NULL: there is none, and each look is a
 * system call.
 */
int (*system_clock_function)(clockid_t, struct timespec *);

struct system_forbidden system_forbidden;
