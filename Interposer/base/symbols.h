/*
 * A loaded module's dynamic symbols, read in place (ELF gABI, "Dynamic Section"; DT_GNU_HASH as GNU ld writes it).
 */
#ifndef HEAPSUM_SYMBOLS_H
#define HEAPSUM_SYMBOLS_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The addresses of a module's tables; 0: it has none. */
struct symbols {
    uintptr_t bias;
    uintptr_t table, names, versions;
    uintptr_t gnu_hash, hash; /* one of the two is enough */
    uintptr_t soname;         /* DT_SONAME: the name by which others need it */
    uintptr_t dynamic;
    uintptr_t relocations, call_relocations; /* DT_RELA, DT_JMPREL */
    size_t relocations_bytes, call_relocations_bytes;
    bool may_go; /* another thread may unload it meanwhile: read it through the kernel */
};

/* Reads a module's dynamic section; false if it can't be read. */
bool symbols_read(uintptr_t dynamic, uintptr_t bias, bool may_go, struct symbols *symbols);

enum symbol_type {
    SYMBOL_FUNCTION,
    SYMBOL_OLD_FUNCTION, /* in a version other than the default */
    SYMBOL_VARIABLE,
    SYMBOL_THREAD_VARIABLE,
};

/* The address of the module's definition of this name, in the default version if there are several; 0 if it has none of
 * that type. Of a thread-local variable it is its offset in the module's block, and 1 more: an offset may be 0. */
uintptr_t symbols_find(const struct symbols *symbols, const char *name, enum symbol_type type);

/* Whether symbol `number` of the module's table, defined or not, has the name. */
bool symbols_is_named(const struct symbols *symbols, uint32_t number, const char *name);

/* Whether the module imports the name. Complexity: linear in its imports. */
bool symbols_imports(const struct symbols *symbols, const char *name);

/* Copies the name of the needed library number `index` (DT_NEEDED), truncated to fit; false after the last. */
bool symbols_needed(const struct symbols *symbols, size_t index, char *name, size_t room);

/* Copies the module's DT_SONAME; false if it has none. */
bool symbols_soname(const struct symbols *symbols, char *name, size_t room);

/* Copies memory that may be unmapped; false, without a fault, if it is. Async-signal-safe. */
bool memory_fetch(void *to, uintptr_t from, size_t bytes);

/* Whether the word at the address can be read. */
bool memory_is_readable(uintptr_t address);

/* The same for many addresses, most of them in the same few pages: it remembers pages that were readable. */
#define LOOKS 4
struct memory_looks {
    uintptr_t pages[LOOKS]; /* read lately */
    size_t next;
};
bool memory_looked_at(struct memory_looks *looks, uintptr_t address);

/* Counts a string's bytes, testing each page before reading it; false if it can't be read or has `most` bytes or more.
 */
bool memory_string_length(const char *string, size_t most, size_t *length);

/* Copies a string of at most `room` bytes with its NUL; false if it is longer or can't be read. */
bool memory_fetch_string(char *to, uintptr_t from, size_t room);

#endif
