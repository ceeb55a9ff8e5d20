/*
 * The scope of what came by dlopen. A library loaded by dlopen searches the global scope first, then the scope of the
 * library that was opened: that library and what it needs, breadth first. The public part of the list does not say
 * which library was opened. We take the first one that needs the caller's library, directly or not, and that no other
 * library needs; if every candidate is needed by another, the first candidate. Libraries opened with RTLD_GLOBAL come
 * earlier, but nothing marks them.
 *
 * Another thread can unload such a library at any instant, so everything is read through the kernel (memory_fetch).
 */
#include <elf.h>
#include <string.h>

#include "base/loader.h"
#include "base/loader_list.h"
#include "base/symbols.h"
#include "base/system.h"

#define SCOPE_MODULES 4096 /* later ones are not examined */

/* A copy of one module that came by dlopen. */
struct late {
    struct symbols symbols;
    char soname[64]; /* or the file's name */
    uintptr_t function;
    bool is_met, is_needed; /* by the current walk; by another of these modules */
};

/* Work space, mapped for each look-up: it is too large for a program's stack, and threads may look up at once. */
struct scope {
    size_t count;
    struct late modules[SCOPE_MODULES];
    uint16_t queue[SCOPE_MODULES];
    char path[PATH_MAX];
};

/* Reads the list after the modules of the start; false if it changed during the reading. Leaves out a module that is
 * being unloaded. */
static bool read_late_modules(struct scope *scope, const char *name) {
    uintptr_t before = (uintptr_t)loader_list.last_of_start, at = (uintptr_t)loader_list.last_of_start->l_next;
    for (scope->count = 0; at != 0 && scope->count < SCOPE_MODULES;) {
        struct link_map map; /* only the public part */
        if (!memory_fetch(&map, at, sizeof map) || (uintptr_t)map.l_prev != before) return false;
        before = at;
        at = (uintptr_t)map.l_next;
        struct late *late = &scope->modules[scope->count];
        *late = (struct late){.function = 0};
        if (!symbols_read((uintptr_t)map.l_ld, map.l_addr, system_may_look(), &late->symbols)) continue;
        if (!symbols_soname(&late->symbols, late->soname, sizeof late->soname)) {
            const char *slash = memory_fetch_string(scope->path, (uintptr_t)map.l_name, sizeof scope->path)
                ? strrchr(scope->path, '/')
                : NULL;
            if (slash != NULL) memcpy(late->soname, slash + 1, strnlen(slash + 1, sizeof late->soname - 1));
        }
        late->function = symbols_find(&late->symbols, name, SYMBOL_FUNCTION);
        scope->count++;
    }
    return true;
}

static size_t late_module_named(const struct scope *scope, const char *soname) {
    for (size_t i = 0; i < scope->count; i++)
        if (strcmp(scope->modules[i].soname, soname) == 0) return i;
    return SIZE_MAX;
}

/* Queues a module and everything it needs, breadth first; returns how many. */
static size_t follow(struct scope *scope, size_t from) {
    size_t count = 0;
    for (size_t i = 0; i < scope->count; i++) scope->modules[i].is_met = false;
    scope->modules[from].is_met = true;
    scope->queue[count++] = (uint16_t)from;
    for (size_t at = 0; at < count; at++) {
        char needed[64];
        for (size_t n = 0; symbols_needed(&scope->modules[scope->queue[at]].symbols, n, needed, sizeof needed); n++) {
            const char *slash = strrchr(needed, '/'); /* a library without a soname is needed by its path */
            size_t module = late_module_named(scope, slash != NULL ? slash + 1 : needed);
            if (module == SIZE_MAX) continue;
            if (module != scope->queue[at]) scope->modules[module].is_needed = true;
            if (scope->modules[module].is_met) continue;
            scope->modules[module].is_met = true;
            scope->queue[count++] = (uint16_t)module;
        }
    }
    return count;
}

static uintptr_t function_for(struct scope *scope, size_t caller) {
    size_t definers = 0, only = 0;
    for (size_t i = 0; i < scope->count; i++)
        if (scope->modules[i].function != 0) definers++, only = i;
    if (definers == 0) return 0;
    if (definers == 1) return scope->modules[only].function;    /* nearly always so: the C++ runtime */
    for (size_t i = 0; i < scope->count; i++) follow(scope, i); /* marks those that others need */
    /* A library that no other needs was opened itself. What it needs may come before it in the list: a runtime stays
     * loaded when its first user is unloaded. */
    for (int any = 0; any < 2; any++)
        for (size_t opened = 0; opened < scope->count; opened++) {
            if (!any && scope->modules[opened].is_needed) continue;
            size_t count = follow(scope, opened);
            if (!scope->modules[caller].is_met) continue;
            for (size_t i = 0; i < count; i++)
                if (scope->modules[scope->queue[i]].function != 0) return scope->modules[scope->queue[i]].function;
        }
    /* No visible scope has it: take the first of those that dlopen may have made global. */
    for (size_t i = 0; i < scope->count; i++)
        if (scope->modules[i].function != 0) return scope->modules[i].function;
    return 0;
}

static bool is_of_start(uintptr_t address) {
    for (const struct link_map *module = loader_first_module(); module != NULL; module = module->l_next) {
        if ((uintptr_t)module->l_ld == address) return true;
        if (module == loader_list.last_of_start) break;
    }
    return false;
}

#define WALKS 16 /* tries, as other threads may change the list */

void *loader_scoped(const char *name, uintptr_t caller) {
    struct loaded module;
    struct found_object object = {0};
    if (loader_list.own == NULL || !loader_find(caller, &module)) return NULL;
    /* The caller's own module stays loaded during its call. */
    const struct link_map *callers =
        loader_list.find_object != NULL && loader_list.find_object((void *)caller, &object) == 0 ? object.link_map
                                                                                                 : NULL;
    const bool starts = callers != NULL ? is_of_start((uintptr_t)callers->l_ld) : false;
    struct scope *scope = system_map_memory(sizeof *scope);
    if (scope == NULL) return callers != NULL ? (void *)loader_find_in(callers, name) : NULL;
    uintptr_t function = 0;
    bool found = false;
    for (int walk = 0; walk < WALKS && !found; walk++) {
        bool whole = read_late_modules(scope, name);
        size_t at = 0;
        while (at < scope->count && scope->modules[at].symbols.dynamic - module.start >= module.end - module.start)
            at++;
        if (at < scope->count) {
            function = function_for(scope, at);
            found = whole;
            /* it searches the global scope: take the first that dlopen may have added to that */
        } else if (whole && (starts || callers == NULL)) {
            for (size_t i = 0; function == 0 && i < scope->count; i++) function = scope->modules[i].function;
            found = true;
        }
    }
    if (!found && callers != NULL && !starts) {
        uintptr_t own_function = loader_find_in(callers, name);
        if (own_function != 0) function = own_function;
    }
    system_unmap(scope, sizeof *scope);
    return (void *)function;
}
