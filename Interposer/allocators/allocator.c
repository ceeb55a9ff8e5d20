/*
 * The start of a library for an allocator's own functions: it takes itself out of the LD_PRELOAD that children inherit.
 */
#include "allocators/allocator.h"

#include <string.h>
#include <sys/auxv.h>

#include "base/loader.h"

/* A list's next entry, from `*at` on: its length, with `*at` moved to its first byte; 0 at the end. */
static size_t next_entry(char **at) {
    while (**at == ':' || **at == ' ') ++*at;
    return strcspn(*at, ": ");
}

/* Whether the file that an entry names begins so, or is called so. */
static bool names(const char *entry, size_t length, const char *beginning, bool whole) {
    const char *file = entry + length;
    while (file > entry && file[-1] != '/') file--;
    size_t file_length = length - (size_t)(file - entry), wanted = strlen(beginning);
    return (whole ? file_length == wanted : file_length >= wanted) && memcmp(file, beginning, wanted) == 0;
}

static void leave_list(char *list) {
    size_t length;
    /* Whoever inherits the allocator is to inherit this too. */
    for (char *at = list; (length = next_entry(&at)) != 0; at += length)
        if (names(at, length, allocator_file, false)) return;
    for (char *at = list; (length = next_entry(&at)) != 0; at += length) {
        if (!names(at, length, allocator_own_file, true)) continue;
        char *end = at + length;
        /* One separator goes with it. */
        if (*end != '\0') end++;
        else if (at > list) at--;
        memmove(at, end, strlen(end) + 1);
        return;
    }
}

__attribute__((constructor)) static void start(int count, char **arguments, char **env) {
    (void)count;
    (void)arguments;
    loader_start();
    if (allocator_can_book()) heapsum_booking.know((uintptr_t)&start);
    /* In the environment that the kernel laid out above our stack, and in no string that somebody put in its place. */
    uintptr_t lowest = (uintptr_t)__builtin_frame_address(0), highest = (uintptr_t)loader_auxiliary(AT_EXECFN);
    for (char **entry = loader_has_glibc() ? env : loader_environment(); entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, "LD_PRELOAD=", 11) != 0) continue;
        if ((uintptr_t)*entry > lowest && (uintptr_t)*entry < highest) leave_list(*entry + 11);
        return;
    }
}
