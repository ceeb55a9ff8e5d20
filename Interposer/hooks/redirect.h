/*
 * Redirecting the calls of modules that are loaded already: in a program that started without us, each module's table
 * of addresses (GOT) leads to the allocator, and is made to lead here.
 */
#ifndef HEAPSUM_REDIRECT_H
#define HEAPSUM_REDIRECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function and what takes its place. */
struct redirection {
    const char *name;
    void *next; /* NULL: nobody has one, and nothing leads to it */
    void *hook;
    uint32_t order; /* those of 0 in all modules first: frees; then 1: reallocations; then 2: allocations */
};
#define REDIRECTION_ORDERS 3u

/* What a walk over the modules met. */
struct redirected {
    uint64_t modules; /* looked at */
    uint64_t entries; /* changed */
    uint64_t refused; /* not changed, as their memory can't be made writable */
    uint64_t passed;  /* that lead to another function of the name, or may: left alone */
    uint64_t late;    /* modules that were not relocated yet */
};

/*
 * Makes the entries of all modules lead to the hooks, or (`back`) to the next functions again. Each entry is changed by
 * one compare-and-swap, and only from the one to the other: what leads anywhere else is left alone.
 *
 * Takes the loader's lock. Complexity: reads all relocations of all modules, some microseconds for a usual one.
 */
void redirect(const struct redirection *redirections, size_t count, bool back, struct redirected *report);

#endif
