/*
 * The outermost frame. The first call of the main thread is in the program's first instructions, which are at AT_ENTRY;
 * where those only jump on, as on AArch64, its stack ends where the kernel put the arguments. The first call of another
 * thread is in musl's __clone, which ends the thread after it.
 */
#include "stacks/outermost.h"

#include <string.h>
#include <sys/auxv.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"
#include "include/heap_image.h"
#include "stacks/cfi.h"
#include "stacks/return_address.h"
#include "stacks/step.h"
#include "stacks/tries.h"

/* Bytes of the program's first instructions: _start and what it jumps to (musl, crt/crt1.c). */
#define FIRST_BYTES 96
/* Words that are examined: the frames of musl outside main and a thread's start take some dozens. */
#define WORDS_MOST 512

#define KNOWN_MOST 16
static uintptr_t known[KNOWN_MOST];

/* For a pc whose frame is another: how often that was found. To look at so many words at each allocation would take
 * milliseconds. */
#define INNER_LOOKS 2
static struct tries inner;

/* Whether a return address is in libc. In a static program libc is a part of the program, and only the lack of call
 * frame information marks it. */
static bool is_in_libc(uintptr_t word) {
    return loader_holds(word) || (loader_is_static() && loader_start_of(word) != 0 && !cfi_has_entry(word - 1));
}

static bool is_first_call_of_program(uintptr_t word) {
    uintptr_t entry = loader_auxiliary(AT_ENTRY);
    return word > entry && word - entry <= FIRST_BYTES && is_return_address(word);
}

/* What follows the call of a thread's first function (musl, src/thread/ARCHITECTURE/clone.s): exit(result). */
static bool is_first_call_of_thread(uintptr_t word) {
#if defined(__x86_64__)
    static const uint8_t ending[] = {0x89, 0xC7, 0x31, 0xC0, 0xB0, 0x3C, 0x0F, 0x05};
#elif defined(__aarch64__)
    static const uint8_t ending[] = {0xA8, 0x0B, 0x80, 0xD2, 0x01, 0x00, 0x00, 0xD4};
#endif
    uint8_t bytes[sizeof ending];
    return is_in_libc(word) && memory_fetch(bytes, word, sizeof bytes) && memcmp(bytes, ending, sizeof ending) == 0;
}

bool outermost_is_first_call(uintptr_t word) { return is_first_call_of_program(word) || is_first_call_of_thread(word); }

/* Whether one of the words from `sp` on is the return address of a first call, or the count of the program's arguments,
 * before any return address of other code. */
static bool leads_to_first_call(uintptr_t sp, const struct cfi_bounds *bounds) {
    const uintptr_t arguments = loader_arguments();
    for (size_t i = 0; i < WORDS_MOST && holds(*bounds, sp); i++, sp += sizeof(uintptr_t)) {
        if (sp == arguments) return true;
        /* Another thread may be about to unmap what lies above this thread's stack. */
        if (sp % HEAP_PAGE_BYTES == 0 && !memory_is_readable(sp)) return false;
        const uintptr_t word = machine_strip(word_at(sp));
        if (outermost_is_first_call(word)) return true;
        if (is_no_code(word, bounds)) continue;
        /* the search of the modules comes last: it costs dozens of system calls */
        if (!is_in_libc(word) && is_return_address(word) && loader_guess(word) == GUESS_CODE) return false;
    }
    return false;
}

bool outermost_is(uintptr_t pc, uintptr_t sp, const struct cfi_bounds *bounds) {
    for (size_t i = 0; i < KNOWN_MOST; i++)
        if (load_relaxed(&known[i]) == pc) return true;
    const uint64_t looks = tries_of(&inner, pc);
    if (looks == INNER_LOOKS) return false;
    if (!is_in_libc(pc) || !is_return_address(pc)) return false;
    if (is_first_call_of_thread(pc)) return true;
    if (!leads_to_first_call(sp, bounds)) {
        tries_set(&inner, pc, looks + 1);
        return false;
    }
    for (size_t place = 0; place < KNOWN_MOST; place++) {
        uintptr_t none = 0;
        if (cas_relaxed(&known[place], &none, pc)) break;
    }
    return true;
}
