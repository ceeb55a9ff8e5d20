/*
 * Finding the next functions.
 *
 * Operators new and delete need more than C functions do: a C program may dlopen a plugin that brings a C++ runtime or
 * operators of its own. If no module of the start has them, each call site gets the operator from its own library's
 * scope. The result is kept by the caller's address. It is dropped when a module is unloaded, because another module
 * may be loaded at that address.
 */
#include "base/next.h"

#include <errno.h>

#include "base/loader.h"

struct next next;
long (*next_syscall)(long, long, long, long, long, long, long);
struct next_operator next_operators[OPERATOR_COUNT];

/* An address that the loader relocates: NULL before it has. */
static const void *volatile const relocated = &next;

static bool is_beside_malloc(const void *function, const void *allocate) {
    return function != NULL && loader_start_of((uintptr_t)function) == loader_start_of((uintptr_t)allocate);
}

#define NAME(name) #name,
static const char names[][40] = {OPERATORS(NAME)};

static void find_operators(const void *allocate) {
    for (size_t i = 0; i < OPERATOR_COUNT; i++) {
        void *function = loader_next_behind(names[i]);
        next_operators[i] = (struct next_operator){function, is_beside_malloc(function, allocate)};
    }
}

bool next_resolve(void) {
    if (relocated == NULL) return false;
    if (next_known()) return true;
    int saved = errno;
    loader_start();
    struct next found = {0};
#define FIND(result, name, parameters) found.name = (__typeof__(found.name))loader_next(#name);
    NEXT_FUNCTIONS(FIND)
#undef FIND
    const __typeof__(found.malloc) allocate = found.malloc;
    /* A sanitizer's malloc_usable_size ends the program for a block that is not its own; its free would have reported
     * what is wrong with the block. */
    found.is_sanitizers = is_beside_malloc(loader_next("__sanitizer_get_ownership"), (void *)allocate);
    found.knows_usable_size =
        !found.is_sanitizers && is_beside_malloc((void *)found.malloc_usable_size, (void *)allocate);
    found.is_glibc = allocate != NULL && allocate == (__typeof__(allocate))loader_libc("malloc")
        && loader_libc("__libc_malloc") != NULL;
    *(void **)&found.old_posix_spawn = loader_old_libc("posix_spawn");
    *(void **)&found.old_posix_spawnp = loader_old_libc("posix_spawnp");
    found.libc_sigaction = (sigaction_function *)loader_libc("sigaction");
    find_operators((void *)allocate);
    found.malloc = NULL;
    next = found;
    next_syscall = next.syscall;
    errno = saved;
    store_release(&next.malloc, allocate); /* last: a thread that sees it set sees the others (partner: next_known) */
    return allocate != NULL;
}

/* ---- Operators by who calls ------------------------------------------------------------------------------ */

/*
 * The operator found for a call site, or for a module by its first address. The key combines the address and the
 * generation of modules, and is written last. While an entry is being written its key is WRITING; other threads then
 * ignore the entry.
 */
struct answer {
    uint64_t key;
    void *function;
};
#define WRITING 1
#define SITES_LOG2 8
#define MODULES_LOG2 8
#define PROBES 8 /* for a module's answer, which costs a millisecond to find again */
static struct answer by_site[OPERATOR_COUNT][1u << SITES_LOG2], by_module[OPERATOR_COUNT][1u << MODULES_LOG2];

static uint64_t key_of(uintptr_t address) { return (uint64_t)address << 16 | (loader_generation() & 0xFFFF); }
static uint32_t place_of(uintptr_t address, uint32_t log2) {
    return (uint32_t)((uint64_t)address * 0x9E3779B97F4A7C15ull >> (64 - log2));
}

/* The kept operator, or NULL. While a library is being closed, entries are neither used nor written. */
static void *known(const struct answer *answer, uint64_t key) {
    if (load_acquire(&loader_closing) != 0) return NULL; /* partner: dlclose's release */
    if (load_acquire(&answer->key) != key) return NULL;  /* partner: remember's release */
    void *function = load_relaxed(&answer->function);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return load_relaxed(&answer->key) == key ? function : NULL;
}

static void remember(struct answer *answer, uint64_t key, void *function) {
    uint64_t before = load_relaxed(&answer->key);
    if (load_acquire(&loader_closing) != 0 || before == WRITING || !cas_acq_rel(&answer->key, &before, WRITING)) return;
    store_relaxed(&answer->function, function);
    store_release(&answer->key, key);
}

/* A library can be closed without our dlclose seeing it (RTLD_DEEPBIND), and another be loaded at its address. */
static bool is_still_there(const void *function, enum operator_number number) {
    return loader_defines(function, names[number]);
}

static void *operator_of_module(enum operator_number number, uintptr_t caller) {
    uintptr_t start = loader_start_of(caller);
    uint64_t key = key_of(start);
    uint32_t place = place_of(start, MODULES_LOG2);
    struct answer *table = by_module[number], *room = &table[place];
    for (uint32_t i = 0; i < PROBES; i++) {
        struct answer *answer = &table[(place + i) % (1u << MODULES_LOG2)];
        void *function = known(answer, key);
        if (function != NULL && is_still_there(function, number)) return function;
        /* The first entry that is empty or of an earlier generation. */
        if ((load_relaxed(&room->key) ^ key) << 48 == 0 && (load_relaxed(&answer->key) ^ key) << 48 != 0) room = answer;
    }
    void *function = loader_scoped(names[number], caller);
    if (function != NULL) remember(room, key, function);
    return function;
}

void *next_scoped_operator(enum operator_number number, uintptr_t caller) {
    uint64_t key = key_of(caller);
    struct answer *site = &by_site[number][place_of(caller, SITES_LOG2)];
    void *function = known(site, key);
    if (likely(function != NULL) && likely(is_still_there(function, number))) return function;
    function = operator_of_module(number, caller);
    if (function != NULL) remember(site, key, function);
    return function;
}
