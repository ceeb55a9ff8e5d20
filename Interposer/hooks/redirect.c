/*
 * The modules' address tables (GOT).
 *
 * An entry is an aligned word, and a call reads it in one access, so it can be changed while other threads call through
 * it. Its value alone decides what is done with it: the next function's address is replaced by the hook's, and on the
 * way back the reverse. So nothing has to be stored between the two, and a later walk completes an interrupted one.
 *
 * An entry that was never called through leads into its own module's PLT: the loader looks the name up at the first
 * call. It counts as the next function, unless another module defines malloc too, or another entry of the same module
 * leads elsewhere (RTLD_DEEPBIND). Then it is left alone, because a block must be freed by its own allocator.
 *
 * Frees are redirected in all modules before the first reallocation, and reallocations before the first allocation. So
 * the free of each booked block is booked too.
 */
#include "hooks/redirect.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/machine.h"
#include "base/symbols.h"
#include "base/system.h"

struct pass {
    const struct redirection *redirections;
    size_t count;
    bool back;
    uint32_t order;
    bool is_ambiguous; /* more than one module defines malloc */
    struct redirected *report;
};

/* A module's relocations, and what the walk found out about them. */
struct tables {
    struct symbols symbols;
    uintptr_t relocations[2]; /* DT_RELA, DT_JMPREL */
    size_t bytes[2];
    bool is_foreign; /* one of its entries leads to another allocator */
    bool is_open;    /* the walk has made the module's read-only part writable */
};

/* The same as in symbols.c: the loader may have added the bias already. */
static uintptr_t address_in(uintptr_t value, const struct loader_module *module) {
    return value - module->span.start < module->span.end - module->span.start ? value : value + module->span.bias;
}

static bool read_tables(const struct loader_module *module, struct tables *tables) {
    *tables = (struct tables){.is_foreign = false};
    if (!symbols_read(module->dynamic, module->span.bias, false, &tables->symbols) || tables->symbols.table == 0)
        return false;
    bool has_addends = true;
    for (const ElfW(Dyn) *entry = (const ElfW(Dyn) *)module->dynamic; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
            case DT_RELA: tables->relocations[0] = address_in(entry->d_un.d_ptr, module); break;
            case DT_RELASZ: tables->bytes[0] = entry->d_un.d_val; break;
            case DT_JMPREL: tables->relocations[1] = address_in(entry->d_un.d_ptr, module); break;
            case DT_PLTRELSZ: tables->bytes[1] = entry->d_un.d_val; break;
            case DT_PLTREL: has_addends = entry->d_un.d_val == DT_RELA; break;
            default: break;
        }
    }
    return has_addends;
}

static const struct redirection *named(const struct pass *pass, const char *name) {
    for (size_t i = 0; i < pass->count; i++) {
        const struct redirection *known = &pass->redirections[i];
        if (known->next != NULL && known->name[0] == name[0] && known->name[1] == name[1]
            && strcmp(known->name, name) == 0)
            return known;
    }
    return NULL;
}

/* One entry that may have to be changed. */
struct entry {
    uint64_t *word;
    const struct redirection *what;
    uintptr_t definition; /* its module's own function of the name; 0: it has none */
    bool is_call;         /* only calls go through it, and the loader may not have looked it up yet */
};

/* Calls `visit` for each entry of a name in the list of redirections. */
static void each_entry(const struct pass *pass, const struct loader_module *module, struct tables *tables,
    void (*visit)(const struct pass *, const struct loader_module *, struct tables *, const struct entry *)) {
    const ElfW(Sym) *symbols = (const ElfW(Sym) *)tables->symbols.table;
    const char *names = (const char *)tables->symbols.names;
    for (int table = 0; table < 2; table++) {
        const ElfW(Rela) *relocation = (const ElfW(Rela) *)tables->relocations[table];
        size_t count = relocation != NULL ? tables->bytes[table] / sizeof *relocation : 0;
        for (size_t i = 0; i < count; i++, relocation++) {
            uint32_t type = (uint32_t)ELF64_R_TYPE(relocation->r_info);
            bool is_call = type == MACHINE_RELOCATION_CALL;
            if (!is_call
                && ((type != MACHINE_RELOCATION_ADDRESS && type != MACHINE_RELOCATION_WORD)
                    || relocation->r_addend != 0))
                continue;
            const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(relocation->r_info)];
            const struct redirection *what = named(pass, names + symbol->st_name);
            if (what == NULL) continue;
            uintptr_t at = module->span.bias + relocation->r_offset;
            if (at % sizeof(uint64_t) != 0) continue;
            visit(pass, module, tables,
                &(struct entry){(uint64_t *)at, what,
                    symbol->st_shndx != SHN_UNDEF ? module->span.bias + symbol->st_value : 0, is_call});
        }
    }
}

/* Whether the entry leads into its own module's PLT. */
static bool is_unresolved(const struct loader_module *module, const struct entry *entry, uint64_t value) {
    return entry->is_call && value != entry->definition
        && value - module->span.start < module->span.end - module->span.start;
}

static bool is_ours_or_next(const struct entry *entry, uint64_t value) {
    return value == (uintptr_t)entry->what->hook || value == (uintptr_t)entry->what->next;
}

static void look_for_foreign(
    const struct pass *pass, const struct loader_module *module, struct tables *tables, const struct entry *entry) {
    (void)pass;
    uint64_t value = load_relaxed(entry->word);
    if (entry->is_call && !entry->what->is_libcs && !is_ours_or_next(entry, value)
        && !is_unresolved(module, entry, value))
        tables->is_foreign = true;
}

/* Makes an entry writable. If the loader has protected it, this unprotects the module's whole read-only part at once.
 */
static bool can_be_written(const struct loader_module *module, struct tables *tables, uint64_t *word) {
    uint32_t *half = (uint32_t *)word;
    if (tables->is_open || system_touch(half) >= 0) return true;
    if ((uintptr_t)word - module->relro_start >= module->relro_end - module->relro_start) return false;
    tables->is_open =
        system_protect(module->relro_start, module->relro_end - module->relro_start, PROT_READ | PROT_WRITE) == 0;
    return tables->is_open;
}

static void change(
    const struct pass *pass, const struct loader_module *module, struct tables *tables, const struct entry *entry) {
    if (entry->what->order != pass->order) return;
    const uint64_t from = (uintptr_t)(pass->back ? entry->what->hook : entry->what->next),
                   to = (uintptr_t)(pass->back ? entry->what->next : entry->what->hook);
    uint64_t value = load_relaxed(entry->word);
    /* At most twice: the loader may look the name up in between. */
    for (int turn = 0; turn < 2; turn++) {
        if (value == to) return;
        bool is_sure = entry->what->is_libcs || (!pass->is_ambiguous && !tables->is_foreign);
        bool may_be = !pass->back && is_unresolved(module, entry, value) && is_sure;
        if (value != from && !may_be) {
            if (!pass->back) pass->report->passed++;
            return;
        }
        if (!can_be_written(module, tables, entry->word)) {
            pass->report->refused++;
            return;
        }
        if (cas_acq_rel(entry->word, &value, to)) {
            pass->report->entries++;
            return;
        }
    }
}

static bool visit(const struct loader_module *module, void *context) {
    struct pass *pass = context;
    struct tables tables;
    if (module->is_own || !read_tables(module, &tables)) return false;
    if (pass->order == 0) pass->report->modules++;
    if (pass->order == 0 && !module->is_relocated) pass->report->late++;
    if (!pass->back) each_entry(pass, module, &tables, look_for_foreign);
    each_entry(pass, module, &tables, change);
    if (tables.is_open) system_protect(module->relro_start, module->relro_end - module->relro_start, PROT_READ);
    return false;
}

/* Counts the modules that define malloc, without libc and the loader. */
static bool count_allocators(const struct loader_module *module, void *context) {
    struct symbols symbols;
    if (!module->is_own && !module->is_loaders && symbols_read(module->dynamic, module->span.bias, false, &symbols)
        && symbols.table != 0 && symbols_find(&symbols, "malloc", SYMBOL_FUNCTION) != 0)
        ++*(size_t *)context;
    return false;
}

void redirect(const struct redirection *redirections, size_t count, bool back, struct redirected *report) {
    size_t allocators = 0;
    struct pass pass = {redirections, count, back, 0, false, report};
    *report = (struct redirected){0};
    if (!back) loader_each(count_allocators, &allocators);
    pass.is_ambiguous = allocators > 1;
    for (; pass.order < REDIRECTION_ORDERS; pass.order++) loader_each(visit, &pass);
}
