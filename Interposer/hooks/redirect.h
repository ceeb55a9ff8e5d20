/*
 * Redirecting the calls of modules that are already loaded. In a program that started without us, each module's address
 * table (GOT) leads to the allocator; these functions make it lead to the hooks.
 */
#ifndef HEAPSUM_REDIRECT_H
#define HEAPSUM_REDIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function and the hook that replaces it. */
struct redirection {
    const char *name;
    void *next; /* NULL: no module has one, so no entry leads to it */
    void *hook;
    uint32_t order; /* the pass over all modules: 0: frees; 1: reallocations; 2: allocations */
    /* libc's alone, and no allocator's: whether another allocator is about says nothing of its entries. */
    bool is_libcs;
};
#define REDIRECTION_ORDERS 3u

/* The result of a walk over the modules. */
struct redirected {
    uint64_t modules; /* examined */
    uint64_t entries; /* changed */
    uint64_t refused; /* entries whose memory can't be made writable */
    uint64_t passed;  /* entries left alone: they lead, or may lead, to another function of the name */
    uint64_t late;    /* modules that were not relocated yet */
};

/*
 * Makes the entries of all modules lead to the hooks, or (`back`) to the next functions again. Each entry is changed by
 * one compare-and-swap, from one of the two to the other; an entry that leads anywhere else is left alone.
 *
 * Takes the loader's lock. Complexity: reads all relocations of all modules, some microseconds for a usual one.
 */
void redirect(const struct redirection *redirections, size_t count, bool back, struct redirected *report);

#endif
