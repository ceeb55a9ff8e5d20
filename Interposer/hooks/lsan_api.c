/*
 * The functions of LeakSanitizer's lsan_interface.h, for programs that define or declare them weakly. In a program with
 * a sanitizer's own library, calls go to that library.
 *
 * Unlike LeakSanitizer's, a check here never ends the program.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/atomics.h"
#include "base/loader.h"
#include "base/symbols.h"
#include "book/hints.h"
#include "hooks/heapsum_api.h"
#include "process/attach.h"
#include "threads/hook.h"

#define LSAN_FUNCTIONS(X) \
    X(__lsan_disable) \
    X(__lsan_enable) \
    X(__lsan_ignore_object) \
    X(__lsan_register_root_region) \
    X(__lsan_unregister_root_region) \
    X(__lsan_do_leak_check) \
    X(__lsan_do_recoverable_leak_check)

enum lsan_function {
#define NUMBER(name) NUMBER_OF##name,
    LSAN_FUNCTIONS(NUMBER) LSAN_COUNT
};

struct found {
    const char *name;
    uintptr_t address;
};

static bool look(const struct loader_module *module, void *context) {
    struct found *found = context;
    struct symbols symbols;
    if (!module->is_own && symbols_read(module->dynamic, module->span.bias, false, &symbols) && symbols.table != 0)
        found->address = symbols_find(&symbols, found->name, SYMBOL_FUNCTION);
    return found->address != 0;
}

/* Another module's function of that name; 0: there is none. Searched for once. */
static uintptr_t others(enum lsan_function number) {
    static const char *const names[] = {
#define NAME(name) #name,
        LSAN_FUNCTIONS(NAME)};
    static uintptr_t known[LSAN_COUNT]; /* 0: not looked for yet; 1: none */
    uintptr_t address = load_relaxed(&known[number]);
    if (address == 0) {
        struct found found = {names[number], 0};
        loader_each(look, &found);
        address = found.address != 0 ? found.address : 1;
        store_relaxed(&known[number], address);
    }
    return address == 1 ? 0 : address;
}

/* If another module has a function of the same name, calls it and returns. */
#define HAND_ON(type, name, ...) \
    do { \
        uintptr_t other = others(NUMBER_OF##name); \
        if (other != 0) return ((type)other)(__VA_ARGS__); \
    } while (0)

typedef void simple_function(void);
typedef int check_function(void);
typedef void object_function(const void *);
typedef void region_function(const void *, size_t);

/* Blocks that this thread allocates from now on are no leaks. Calls nest. The thread leaves the common path, which does
 * not check for this. */
extern void __lsan_disable(void);
EXPORT void __lsan_disable(void) {
    HAND_ON(simple_function *, __lsan_disable);
    local.ignoring++;
    thread_be_general();
}

extern void __lsan_enable(void);
EXPORT void __lsan_enable(void) {
    HAND_ON(simple_function *, __lsan_enable);
    if (local.ignoring == 0 || --local.ignoring > 0) return; /* one enable too many */
    thread_be_plain();
}

extern void __lsan_ignore_object(const void *block);
EXPORT void __lsan_ignore_object(const void *block) {
    HAND_ON(object_function *, __lsan_ignore_object, block);
    api_ignore(block);
}

extern void __lsan_register_root_region(const void *start, size_t bytes);
EXPORT void __lsan_register_root_region(const void *start, size_t bytes) {
    HAND_ON(region_function *, __lsan_register_root_region, start, bytes);
    api_root(start, bytes);
}

extern void __lsan_unregister_root_region(const void *start, size_t bytes);
EXPORT void __lsan_unregister_root_region(const void *start, size_t bytes) {
    HAND_ON(region_function *, __lsan_unregister_root_region, start, bytes);
    api_unroot(start, bytes);
}

extern void __lsan_do_leak_check(void);
EXPORT void __lsan_do_leak_check(void) {
    HAND_ON(simple_function *, __lsan_do_leak_check);
    api_leaks();
}

extern int __lsan_do_recoverable_leak_check(void);
EXPORT int __lsan_do_recoverable_leak_check(void) {
    HAND_ON(check_function *, __lsan_do_recoverable_leak_check);
    return api_leaks() == 1;
}
