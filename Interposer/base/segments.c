/*
 * What program headers say: a module's range, the main program, and the clock in the vDSO. The headers are the kernel's
 * or a loaded module's.
 */
#include <elf.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader_list.h"
#include "base/machine.h"
#include "base/symbols.h"
#include "base/system.h"

#define ARGUMENTS_MOST (1u << 22) /* words of a program's arguments that are searched */

struct loaded loader_segments(const ElfW(Phdr) * segments, size_t count, uintptr_t bias, const char *path) {
    struct loaded span = {.start = UINTPTR_MAX, .bias = bias, .path = path};
    for (size_t i = 0; i < count; i++) {
        uintptr_t from = bias + segments[i].p_vaddr;
        if (segments[i].p_type == PT_GNU_EH_FRAME) span.eh_frame_hdr = (const uint8_t *)from;
        if (segments[i].p_type != PT_LOAD) continue;
        if (from < span.start) span.start = from;
        if (from + segments[i].p_memsz > span.end) span.end = from + segments[i].p_memsz;
    }
    span.start &= ~(uintptr_t)4095;
    return span;
}

struct loaded loader_program(const ElfW(Phdr) * segments, size_t count) {
    struct loaded program = {.start = 0};
    for (size_t i = 0; segments != NULL && i < count; i++)
        if (segments[i].p_type == PT_PHDR)
            program = loader_segments(segments, count, (uintptr_t)segments - segments[i].p_vaddr, "");
    return program;
}

/* musl's list does not have the vDSO, and Valgrind hides it: then `elf` is NULL. */
void loader_find_clock(const ElfW(Ehdr) * elf) {
    if (elf == NULL || memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0) return;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((uintptr_t)elf + elf->e_phoff);
    uintptr_t dynamic = 0, bias = (uintptr_t)elf;
    for (size_t i = 0; i < elf->e_phnum; i++) {
        if (segments[i].p_type == PT_DYNAMIC) dynamic = segments[i].p_vaddr;
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset == 0) bias = (uintptr_t)elf - segments[i].p_vaddr;
    }
    struct symbols symbols;
    if (dynamic != 0 && symbols_read(bias + dynamic, bias, false, &symbols))
        store_relaxed(&system_clock_function,
            (int (*)(clockid_t, struct timespec *))symbols_find(&symbols, VDSO_CLOCK, SYMBOL_FUNCTION));
}

/* Between the two lie only pointers, none of which is so small as their number, and the NULL behind them. If the
 * environment is another by now, as for a library that is loaded late, what lies before it may end at any page. */
uintptr_t loader_arguments_before(char *const *environment) {
    const uintptr_t *word = (const uintptr_t *)environment;
    if (word == NULL) return 0;
    for (uintptr_t words = 1; words < ARGUMENTS_MOST; words++) {
        if ((uintptr_t)word % 4096 == 0 && !memory_is_readable((uintptr_t)(word - 1))) return 0;
        word--;
        if (words == 1 && *word != 0) return 0;
        if (words > 1 && *word == words - 2) return (uintptr_t)word;
    }
    return 0;
}
