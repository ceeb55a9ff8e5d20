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

/* Between the two lie only pointers, none of which is so small as their number, and the NULL behind them. */
uintptr_t loader_arguments_before(char *const *environment) {
    if (environment == NULL || environment[-1] != NULL) return 0;
    const uintptr_t *last = (const uintptr_t *)environment - 2;
    uintptr_t count = 0;
    while (last[-(intptr_t)count] != count) count++;
    return (uintptr_t)(last - count);
}
