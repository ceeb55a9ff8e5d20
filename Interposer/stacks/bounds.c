/*
 * How far a stack goes. pthread_getattr_np can't be used: it allocates and locks. Three things are known without it:
 * the kernel puts the program's name above the main stack, glibc puts a thread's control block at the top of its stack,
 * and sigaltstack says where the alternate stack is. Each guess is checked with mincore before it is used. Any other
 * stack (a coroutine's) is probed with mincore. So nothing unmapped is ever read.
 */
#include "stacks/bounds.h"

#include <stdbool.h>
#include <sys/auxv.h>

#include "base/loader.h"
#include "base/system.h"
#include "include/heap_image.h"

#define CHUNK_PAGES 128         /* the size of mincore's answer, which lies on the stack */
#define KNOWN_MOST (1ull << 30) /* a larger known stack is probed only up to this size */
#define GROWTH (256ull << 10)
#define PROBED_MOST (8ull << 20)

/* The end of the mapped pages that begin at `start`, at most `end`. */
static uintptr_t mapped_until(uintptr_t start, uintptr_t end) {
    unsigned char pages[CHUNK_PAGES];
    const uintptr_t page = loader_page_bytes();
    uintptr_t at = start;
    size_t chunk = CHUNK_PAGES;
    while (at < end) {
        size_t length = end - at < chunk * page ? end - at : chunk * page;
        int result = system_resident(at, length, pages);
        if (result == 0) {
            at += length;
            continue;
        }
        /* mincore is not available (a sandbox): the guess is used */
        if (result != -ENOMEM || length <= page) return result == -ENOMEM ? at : end;
        chunk = chunk > 1 ? chunk / 2 : 1; /* halved until the first missing page is found */
    }
    return at;
}

static uintptr_t thread_pointer(void) { return (uintptr_t)__builtin_thread_pointer(); }

struct cfi_bounds bounds_of_stack(uintptr_t sp) {
    const uintptr_t page = loader_page_bytes();
    uintptr_t low = sp & ~(page - 1), end = low + PROBED_MOST;
    stack_t alternate = {.ss_flags = SS_DISABLE};
    system_alternate_stack(&alternate);
    uintptr_t candidates[] = {
        loader_auxiliary(AT_EXECFN), /* a string that the kernel wrote above everything on the main stack */
        thread_pointer(),
        alternate.ss_flags & SS_ONSTACK ? (uintptr_t)alternate.ss_sp + alternate.ss_size : 0,
    };
    bool known = false;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++)
        if (candidates[i] > sp && candidates[i] - sp < KNOWN_MOST && (!known || candidates[i] < end)) {
            uintptr_t top = (candidates[i] + page - 1) & ~(page - 1);
            if (mapped_until(low, top) < top) continue;
            end = candidates[i];
            known = true;
        }
    if (!known) end = mapped_until(low, end);
    /* A known stack grows downwards. Some of the space below it counts as its own, so that not every new page needs a
     * new look-up. */
    return (struct cfi_bounds){known ? low - GROWTH : low, end & ~(uintptr_t)7};
}
