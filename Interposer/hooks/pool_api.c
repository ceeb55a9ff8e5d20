/*
 * The functions of heapsum.h for the blocks of a program's own pools.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "book/pauses.h"
#include "book/pools.h"
#include "book/ranges.h"
#include "hooks/enter.h"
#include "process/start.h"

static bool is_booked(void) { return likely(local.ready) && hook_is_live() && ranges_are_booked(); }

extern void heapsum_pool_allocated(const void *pool, const void *address, size_t bytes);
EXPORT void heapsum_pool_allocated(const void *pool, const void *address, size_t bytes) {
    struct hook hook;
    int saved = errno;
    if (address == NULL || start_is_early() || !hook_enter(&hook, HOOK_FRAME, HOOK_CALLER)) return;
    if (ranges_are_booked() && !pauses_are_on()) {
        hook_stack(&hook);
        pools_allocated((uintptr_t)pool, (uintptr_t)address, bytes, hook.stack);
    }
    hook_leave(&hook);
    errno = saved;
}

extern void heapsum_pool_freed(const void *pool, const void *address);
EXPORT void heapsum_pool_freed(const void *pool, const void *address) {
    if (address != NULL && is_booked()) pools_freed((uintptr_t)pool, (uintptr_t)address);
}

extern void heapsum_pool_destroyed(const void *pool);
EXPORT void heapsum_pool_destroyed(const void *pool) {
    if (is_booked()) pools_destroyed((uintptr_t)pool);
}
