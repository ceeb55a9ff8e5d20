/*
 * AArch64: no place in the program's code is changed, so no request of Valgrind's is seen.
 */
#include "base/options.h"
#include "hooks/requests.h"

void requests_opened(uintptr_t address) { (void)address; }

__attribute__((constructor)) static void say_so(void) {
    if (options.record && options.requests) message("--valgrind-requests does nothing on this architecture", "");
}
