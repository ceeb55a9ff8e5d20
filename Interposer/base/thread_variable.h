/*
 * A thread-local variable that other modules define: finding it without the loader's help, and reading it in the own
 * thread. No lock, no call of the loader: a hook may do both.
 */
#ifndef HEAPSUM_THREAD_VARIABLE_H
#define HEAPSUM_THREAD_VARIABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/machine.h"

/* Later definitions are not read. */
#define THREAD_VARIABLE_PLACES 4

/*
 * Where one definition lies. One word, because a thread may read it while another one enters it. The lower two bits are
 * the kind:
 *
 *   PLACE_STATIC      above them, signed: the offset from the thread pointer, in words of 8 bytes
 *   PLACE_DYNAMIC     the module's number in the thread's vector of modules (16 bits), the offset in the module's block
 *                     in words (20 bits), and the loader's generation of the module (26 bits): an older vector has
 *                     another module's block there, or none
 *   PLACE_UNREADABLE  it is there, but can't be read
 */
enum place_kind { PLACE_NONE, PLACE_STATIC, PLACE_DYNAMIC, PLACE_UNREADABLE };

struct thread_variable {
    const char *name;
    uint64_t places[THREAD_VARIABLE_PLACES]; /* in the order of the loader's list; 0 after the last */
    uint32_t generation;                     /* of the modules (loader_generation), at the last look */
    uint32_t looker;                         /* the thread that looks; 0: none */
    uintptr_t newest;                        /* the last module that was looked at; 0: look at all */
};

/*
 * Looks for definitions in the modules that were loaded since the last look, or in all after one was unloaded. At most
 * one thread looks at a time: others return false at once. `anew`: forgets what is known, as a fork's child must. A
 * definition whose module is not relocated yet is found by a later look. Async-signal-safe. Cost: two system calls if
 * there is no new module, else some ten for each.
 */
bool thread_variable_look(struct thread_variable *variable, bool anew);

/* Whether a module was loaded since the last look; also true if that can't be told. For a C library whose loader
 * allocates without us, as musl's does. Cost: a load if no module came by dlopen, else two system calls. */
bool thread_variable_has_news(const struct thread_variable *variable);

/* The thread's block of a module, by its vector; 0: it has none yet. */
uintptr_t thread_variable_block(uint32_t module, uint64_t generation);

/* The variable of this thread at a place; NULL if the thread has none yet. Not for PLACE_UNREADABLE. */
static inline const uintptr_t *thread_variable_at(uint64_t place) {
    if (likely((place & 3) == PLACE_STATIC))
        return (const uintptr_t *)(machine_thread_pointer() + (uintptr_t)((int64_t)place >> 2) * 8);
    const uintptr_t block = thread_variable_block(place >> 2 & 0xFFFF, place >> 38);
    return block != 0 ? (const uintptr_t *)(block + (place >> 18 & 0xFFFFF) * 8) : NULL;
}

#endif
