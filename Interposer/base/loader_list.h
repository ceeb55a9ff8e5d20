/*
 * What the files that read the loader's list share (loader.c, segments.c, walk.c, scope.c, musl.c): its entries and
 * functions, as loader_start found them. Other files include loader.h.
 */
#ifndef HEAPSUM_LOADER_LIST_H
#define HEAPSUM_LOADER_LIST_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loader.h"

/* As <dlfcn.h> declares it since glibc 2.35; renamed, so that it compiles with older headers too. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    struct link_map *link_map;
    void *eh_frame;
    unsigned long long reserved[10];
};

/* Written once, by loader_start. */
struct loader_list {
    struct link_map *own;           /* this library's entry; NULL: not in the list, so nothing can be found */
    struct link_map *last_of_start; /* modules after it came by dlopen */
    struct link_map *libc;
    struct link_map *interpreter;                      /* the loader's own entry; with musl that is libc */
    int (*find_object)(void *, struct found_object *); /* glibc's _dl_find_object; NULL before 2.35 */
    int (*iterate)(int (*)(struct dl_phdr_info *, size_t, void *), void *); /* dl_iterate_phdr */
};
extern HIDDEN struct loader_list loader_list;

/* This library's own dynamic section: it identifies the library's entry in the list. */
extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* The first entry of the list, or NULL. */
struct link_map *loader_first_module(void);

/* The address of a module's function, or 0. The module must stay loaded. */
uintptr_t loader_find_in(const struct link_map *module, const char *name);

/* loader_find for musl's modules, of which `first` is the first, without musl's lock; see musl.c. */
bool musl_find(const struct link_map *first, uintptr_t address, struct loaded *found);

/* The range of a module's segments, and its call frame information, from its program headers. */
struct loaded loader_segments(const ElfW(Phdr) * segments, size_t count, uintptr_t bias, const char *path);

/* The main program, by its program headers as the kernel names them; all zero if they don't say where they are. */
struct loaded loader_program(const ElfW(Phdr) * segments, size_t count);

/* Finds the clock in the vDSO, whose header the kernel names; NULL: there is none. */
void loader_find_clock(const ElfW(Ehdr) * elf);

#endif
