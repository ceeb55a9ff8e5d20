/*
 * The loader gives each module with thread-local variables a block in each thread: at one offset from the thread
 * pointer for all threads (static), or where the thread's vector says (DTV; dynamic). Which of the two it chose, and
 * the offset or the module's number, stands in the words that the module's own accesses go through: its relocations for
 * the variable name them. The main program needs no such words for its own variables; its block is number 1.
 *
 *   TPOFF     the word is the offset from the thread pointer
 *   DTPMOD    the word is the module's number, the next one the offset in its block
 *   TLSDESC   a function, and its argument: the offset from the thread pointer, or the address of the module's number,
 *             the offset in the block, and (glibc) the generation of the thread's vector that has the block
 *
 * The layout of the vector is glibc's (elf/dl-tls.c, sysdeps/.../nptl/tls.h) or musl's (src/internal/pthread_impl.h,
 * ldso/dynlink.c). glibc may change it with any version; since 2.4 it has not.
 */
#include "base/thread_variable.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "base/loader.h"
#include "base/loader_list.h"
#include "base/symbols.h"
#include "base/system.h"

#define MODULES_MOST 65536 /* later ones are not looked at */
#define RELOCATION_CHUNK 16

/* ---- Places -------------------------------------------------------------------------------------------- */

static uint64_t static_place(intptr_t offset) {
    const uintptr_t address = machine_thread_pointer() + (uintptr_t)offset;
    if (offset % 8 != 0 || !memory_is_readable(address)) return PLACE_UNREADABLE;
    return (uint64_t)(offset / 8) << 2 | PLACE_STATIC;
}

static uint64_t dynamic_place(uint64_t module, uint64_t offset, uint64_t generation) {
    if (module == 0 || module >> 16 != 0 || offset % 8 != 0 || offset >> 23 != 0 || generation >> 26 != 0)
        return PLACE_UNREADABLE;
    return generation << 38 | offset / 8 << 18 | module << 2 | PLACE_DYNAMIC;
}

/* The vector has its own length before it or in its first entry, and blocks behind that. glibc's entries have two
 * words, and a block that the thread has not used yet is -1. */
uintptr_t thread_variable_block(uint32_t module, uint64_t generation) {
    const uintptr_t *vector = machine_vector(loader_has_musl());
    if (vector == NULL) return 0;
    if (loader_has_musl()) return module <= vector[0] ? vector[module] : 0;
    if (module > vector[-2] || vector[0] < generation) return 0;
    const uintptr_t block = vector[2 * (size_t)module];
    return block != UINTPTR_MAX ? block : 0;
}

/* ---- A module's relocations -------------------------------------------------------------------------------- */

/* One module's definition. */
struct definition {
    const struct symbols *symbols;
    const char *name;
    uintptr_t offset; /* in the module's block */
    bool is_of_start; /* the module came with the program, so it is never unloaded */
    bool is_ready;    /* false: the module is not relocated yet */
};

/* Whether the argument of a TLSDESC is an offset from the thread pointer, and not an address. The static blocks lie
 * below the thread pointer on x86-64, and in the first megabyte above it on AArch64; below that no process has data. */
static bool is_offset(intptr_t argument) {
#if defined(__x86_64__)
    return argument < 0;
#else
    return argument > 0 && argument < 1 << 20;
#endif
}

/* The place that a relocation's words name, after the loader has filled them in. */
static uint64_t place_of(struct definition *definition, uint32_t type, const uintptr_t words[2], bool is_nameless) {
    definition->is_ready = words[0] != 0;
    if (!definition->is_ready) return PLACE_NONE;
    if (type == MACHINE_RELOCATION_TPOFF) return static_place((intptr_t)words[0]);
    if (type == MACHINE_RELOCATION_DTPMOD) {
        /* Nothing tells a vector that still has the block of a module that was unloaded before, under this number. */
        if (!definition->is_of_start && loader_has_glibc() && (loader_generation() != 1 || loader_is_late()))
            return PLACE_UNREADABLE;
        return dynamic_place(words[0], is_nameless ? definition->offset : words[1], 0);
    }
    if (is_offset((intptr_t)words[1])) return static_place((intptr_t)words[1]);
    uint64_t argument[3] = {0};
    if (!memory_fetch(argument, words[1], (loader_has_musl() ? 2 : 3) * sizeof argument[0])) return PLACE_UNREADABLE;
    const uint64_t place = dynamic_place(argument[0], argument[1], argument[2]);
    /* an old glibc fills the words in at the first access: until then they lead to the relocation itself */
    definition->is_ready = place != PLACE_UNREADABLE;
    return place;
}

/* Whether a relocation is for the variable: by name, or, if the linker has bound the name already, by its offset. */
static bool is_for(const struct definition *definition, const ElfW(Rela) * relocation, bool is_nameless) {
    const uint32_t number = (uint32_t)ELF64_R_SYM(relocation->r_info),
                   type = (uint32_t)ELF64_R_TYPE(relocation->r_info);
    if (type != MACHINE_RELOCATION_TPOFF && type != MACHINE_RELOCATION_DTPMOD && type != MACHINE_RELOCATION_TLSDESC)
        return false;
    if (is_nameless != (number == STN_UNDEF)) return false;
    if (!is_nameless) return symbols_is_named(definition->symbols, number, definition->name);
    return type == MACHINE_RELOCATION_DTPMOD || (uintptr_t)relocation->r_addend == definition->offset;
}

/* A static place serves all accesses. The vector has the block only after an access that went through the vector, so a
 * static place is preferred. */
static void place_in(struct definition *definition, uintptr_t at, size_t bytes, bool is_nameless, uint64_t *place) {
    ElfW(Rela) relocations[RELOCATION_CHUNK];
    const size_t count = bytes / sizeof relocations[0];
    for (size_t i = 0; i < count && (*place & 3) != PLACE_STATIC && definition->is_ready; i += RELOCATION_CHUNK) {
        const size_t chunk = count - i < RELOCATION_CHUNK ? count - i : RELOCATION_CHUNK;
        if (!memory_fetch(relocations, at + i * sizeof relocations[0], chunk * sizeof relocations[0])) return;
        for (size_t k = 0; k < chunk && (*place & 3) != PLACE_STATIC && definition->is_ready; k++) {
            const uint32_t type = (uint32_t)ELF64_R_TYPE(relocations[k].r_info);
            uintptr_t words[2] = {0, 0};
            if (!is_for(definition, &relocations[k], is_nameless)) continue;
            const size_t used = type == MACHINE_RELOCATION_TPOFF ? sizeof words[0] : sizeof words;
            if (memory_fetch(words, definition->symbols->bias + relocations[k].r_offset, used))
                *place = place_of(definition, type, words, is_nameless);
        }
    }
}

/* ---- Modules ------------------------------------------------------------------------------------------------- */

/* The place of a module's definition; PLACE_NONE if it has none, or (`*is_ready`) not yet. */
static uint64_t look_in(
    const struct link_map *module, const char *name, bool is_program, bool is_of_start, bool *is_ready) {
    struct symbols symbols;
    if (!symbols_read((uintptr_t)module->l_ld, module->l_addr, system_may_look(), &symbols)) return PLACE_NONE;
    const uintptr_t found = symbols_find(&symbols, name, SYMBOL_THREAD_VARIABLE);
    if (found == 0) return PLACE_NONE;
    struct definition definition = {&symbols, name, found - 1, is_of_start, true};
    uint64_t place = PLACE_NONE;
    for (int is_nameless = 0; is_nameless < 2 && place == PLACE_NONE; is_nameless++) {
        place_in(&definition, symbols.relocations, symbols.relocations_bytes, is_nameless, &place);
        place_in(&definition, symbols.call_relocations, symbols.call_relocations_bytes, is_nameless, &place);
    }
    *is_ready = definition.is_ready;
    if (place != PLACE_NONE || !definition.is_ready) return place;
    if (!is_program) return PLACE_UNREADABLE; /* the module has the variable, and no access of its own to it */
    const uintptr_t block = thread_variable_block(1, 0);
    *is_ready = block != 0;
    if (block == 0) return PLACE_NONE; /* the loader is still starting the program */
    return static_place((intptr_t)(block + definition.offset - machine_thread_pointer()));
}

/* Whether a module was loaded with the program. If this library was not, all before the loader were. */
static bool passes_start(uintptr_t module) {
    return module == (uintptr_t)(loader_is_late() ? loader_list.interpreter : loader_list.last_of_start);
}

/* Whether a module is still in the list; copies its entry. */
static bool is_linked(uintptr_t entry, struct link_map *module) {
    struct link_map before;
    return entry != 0 && memory_fetch(module, entry, sizeof *module)
        && memory_fetch(&before, (uintptr_t)module->l_prev, sizeof before) && (uintptr_t)before.l_next == entry;
}

bool thread_variable_has_news(const struct thread_variable *variable) {
    struct link_map newest;
    if (loader_list.last_of_start == NULL || load_relaxed(&loader_list.last_of_start->l_next) == NULL) return false;
    return !is_linked(load_relaxed(&variable->newest), &newest) || newest.l_next != NULL;
}

static bool begin(struct thread_variable *variable) {
    uint32_t nobody = 0;
    const uint32_t self = system_thread();
    /* our own number: a signal handler left an earlier look by longjmp, or this is a fork's child */
    return cas_acq_rel(&variable->looker, &nobody, self) || nobody == self;
}

bool thread_variable_look(struct thread_variable *variable, bool anew) {
    if (anew) store_relaxed(&variable->looker, 0);
    if (!begin(variable)) return false;
    const uint32_t generation = loader_generation();
    if (variable->generation != generation) anew = true;
    uint64_t found[THREAD_VARIABLE_PLACES] = {0};
    size_t count = 0;
    struct link_map module; /* the public part */
    uintptr_t before = 0, at = (uintptr_t)loader_first_module();
    bool is_whole = true, is_of_start = true;
    if (!anew && is_linked(variable->newest, &module)) {
        before = variable->newest;
        at = (uintptr_t)module.l_next;
        is_of_start = false;
        while (count < THREAD_VARIABLE_PLACES && variable->places[count] != 0) {
            found[count] = variable->places[count];
            count++;
        }
    }
    for (size_t i = 0; at != 0 && i < MODULES_MOST; i++) {
        bool is_ready = true;
        if (!memory_fetch(&module, at, sizeof module) || (uintptr_t)module.l_prev != before) {
            is_whole = false; /* the list changed meanwhile */
            break;
        }
        const uint64_t place = look_in(&module, variable->name, before == 0, is_of_start, &is_ready);
        if (!is_ready) is_whole = false;
        if (place != PLACE_NONE && count < THREAD_VARIABLE_PLACES) found[count++] = place;
        if (passes_start(at)) is_of_start = false;
        before = at;
        at = (uintptr_t)module.l_next;
    }
    for (size_t i = 0; i < THREAD_VARIABLE_PLACES; i++) store_relaxed(&variable->places[i], found[i]);
    store_relaxed(&variable->newest, is_whole ? before : 0);
    store_relaxed(&variable->generation, generation);
    store_release(&variable->looker, 0); /* partner: begin's swap */
    return true;
}
