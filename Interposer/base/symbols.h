/*
 * A loaded module's dynamic symbols, read where they lie in memory (ELF gABI, "Dynamic Section"; DT_GNU_HASH as GNU ld
 * writes it).
 */
#ifndef HEAPSUM_SYMBOLS_H
#define HEAPSUM_SYMBOLS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where in a module's memory its tables are; 0 where it has none. */
struct symbols {
    uintptr_t bias;
    uintptr_t table, names, versions;
    uintptr_t gnu_hash, hash; /* one of the two is enough */
    uintptr_t soname;         /* its own name, as others need it */
    uintptr_t dynamic;
    bool may_go; /* another thread may unload it meanwhile: each read is made by the kernel, which then fails */
};

/* Reads a module's dynamic section; false where it can't be read. */
bool symbols_read(uintptr_t dynamic, uintptr_t bias, bool may_go, struct symbols *symbols);

enum symbol_type {
    SYMBOL_FUNCTION,
    SYMBOL_OLD_FUNCTION, /* in a version that is not the default one */
    SYMBOL_VARIABLE,
};

/* The address of what the module defines by this name, in its default version where it has several; 0 where it has none
 * of that type. */
uintptr_t symbols_find(const struct symbols *symbols, const char *name, enum symbol_type type);

/* Whether the module needs the name from another. Complexity: all its imports are looked at. */
bool symbols_imports(const struct symbols *symbols, const char *name);

/* Copies the name of the module's entry number `index` in its list of needed libraries; false behind the last. Longer
 * names are cut. */
bool symbols_needed(const struct symbols *symbols, size_t index, char *name, size_t room);

/* Copies the module's own name; false where it has none. */
bool symbols_soname(const struct symbols *symbols, char *name, size_t room);

/* Copies memory that may not be there: false, and no fault, where it isn't. Async-signal-safe. */
bool memory_fetch(void *to, uintptr_t from, size_t bytes);

/* Whether the word at the address can be read. */
bool memory_is_readable(uintptr_t address);

/* The same for many addresses, which mostly lie in the same few pages. */
#define LOOKS 4
struct memory_looks {
    uintptr_t pages[LOOKS]; /* that could be read of late */
    size_t next;
};
bool memory_looked_at(struct memory_looks *looks, uintptr_t address);

/* Counts a string's bytes, each page looked at before it is read; false where it can't be read, or has `most` or more.
 */
bool memory_string_length(const char *string, size_t most, size_t *length);

/* Copies a string, up to `room` with its NUL. */
bool memory_fetch_string(char *to, uintptr_t from, size_t room);

#endif
