/*
 * What Valgrind's client requests mean. Their codes are an interface that stays (valgrind.h, enum Vg_ClientRequest).
 *
 * None is answered. VALGRIND_MEMPOOL_EXISTS, too, says no as it does without Valgrind, because the program may act
 * differently by the answer.
 */
#include "hooks/requests.h"

#include <errno.h>

#include "base/symbols.h"
#include "base/system.h"
#include "book/pauses.h"
#include "book/pools.h"
#include "book/ranges.h"
#include "hooks/enter.h"
#include "process/start.h"

enum {
    REQUEST_MALLOCLIKE = 0x1301,
    REQUEST_FREELIKE = 0x1302,
    REQUEST_CREATE = 0x1303,
    REQUEST_DESTROY = 0x1304,
    REQUEST_ALLOC = 0x1305,
    REQUEST_FREE = 0x1306,
    REQUEST_TRIM = 0x1307,
    REQUEST_MOVE = 0x1308,
    REQUEST_CHANGE = 0x1309,
    REQUEST_EXISTS = 0x130A,
    REQUEST_RESIZE = 0x130B,
};

#define WORDS 6
/* The words of the macros lie in the caller's frame, or in the red zone below it. */
#define RED_ZONE_BYTES 128u

/* Whether the block is handed out: then the stack is its owner's. */
static bool allocates(uint64_t code) {
    return code == REQUEST_MALLOCLIKE || code == REQUEST_ALLOC || code == REQUEST_CHANGE || code == REQUEST_RESIZE;
}

/* A block that moves or changes its size is freed, and its mover's from then on, as with a realloc. */
static void book_end_of_old(const uint64_t *words) {
    if (words[0] == REQUEST_RESIZE) pools_freed_alone(words[1]);
    if (words[0] == REQUEST_CHANGE) pools_freed(words[1], words[2]);
}

static void book_allocation(const uint64_t *words, uint32_t stack) {
    switch (words[0]) {
        case REQUEST_MALLOCLIKE: pools_allocated_alone(words[1], words[2], stack); break;
        case REQUEST_RESIZE: pools_allocated_alone(words[1], words[3], stack); break;
        case REQUEST_ALLOC: pools_allocated(words[1], words[2], words[3], stack); break;
        default: pools_allocated(words[1], words[3], words[4], stack); break;
    }
}

/* Valgrind ignores these, too. */
static bool means_nothing(const uint64_t *words) {
    if (words[0] == REQUEST_RESIZE && words[2] == words[3]) return true;
    return words[1] == 0
        && (words[0] == REQUEST_RESIZE || words[0] == REQUEST_MALLOCLIKE || words[0] == REQUEST_FREELIKE);
}

static void book_other(const uint64_t *words) {
    switch (words[0]) {
        case REQUEST_FREELIKE: pools_freed_alone(words[1]); break;
        case REQUEST_CREATE: pools_created(words[1], words[4]); break;
        case REQUEST_DESTROY: pools_destroyed(words[1]); break;
        case REQUEST_FREE: pools_freed(words[1], words[2]); break;
        case REQUEST_TRIM: pools_trimmed(words[1], words[2], words[3]); break;
        case REQUEST_MOVE: pools_renamed(words[1], words[2]); break;
        default: break;
    }
}

static bool is_booked(void) { return likely(local.ready) && hook_is_live() && ranges_are_booked(); }

/* Copies the words. On a processor a request reads nothing, so whatever the register holds must do no harm. Surely
 * there is the stack from our own frame, where `to` is, to the end of the page in which our return address lies. */
static bool fetch(uint64_t *to, uintptr_t words, uintptr_t sp) {
    const uintptr_t returns = sp - RED_ZONE_BYTES - sizeof(uintptr_t), end = (returns | (HEAP_PAGE_BYTES - 1)) + 1;
    if (words >= (uintptr_t)to && words <= end - WORDS * sizeof *to) {
        for (int i = 0; i < WORDS; i++) to[i] = ((const volatile uint64_t *)words)[i];
        return true;
    }
    if (system_may_look()) return memory_fetch(to, words, WORDS * sizeof *to);
    if (is_booked()) pools_request_unread();
    return false;
}

__attribute__((used, visibility("hidden"))) void requests_take(
    uintptr_t words, uintptr_t pc, uintptr_t sp, uintptr_t fp) {
    uint64_t request[WORDS];
    if (hook_is_asleep(hook_word()) || !fetch(request, words, sp)) return;
    if (request[0] < REQUEST_MALLOCLIKE || request[0] > REQUEST_RESIZE || request[0] == REQUEST_EXISTS) return;
    if (means_nothing(request)) return;
    const int saved = errno;
    struct hook hook;
    if (!allocates(request[0])) {
        if (is_booked()) {
            pools_request_came();
            book_other(request);
        }
    } else if (!start_is_early() && hook_enter(&hook, HOOK_FRAME, pc)) {
        if (ranges_are_booked()) {
            pools_request_came();
            book_end_of_old(request);
            if (!pauses_are_on()) {
                hook_stack_at(&hook, sp, fp);
                book_allocation(request, hook.stack);
            }
        }
        hook_leave(&hook);
    }
    errno = saved;
}
