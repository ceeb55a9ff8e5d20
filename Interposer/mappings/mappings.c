/*
 * libheapsum-mappings.so: the functions with which a program maps memory itself. heaprun preloads it for --mappings,
 * after libheapsum.so, by which it books, or loads it into a program that runs. Without that option nobody's calls come
 * here.
 *
 * Each function makes the real call first, as the program would: results and errno are those of the call, and none of
 * these functions is a cancellation point. Then it books what came of it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#include "base/system.h"
#include "hooks/booking.h"
#include "mappings/passing.h"

/* Weak: without libheapsum.so, or with another build's, all calls are only passed on. */
extern const struct heapsum_booking heapsum_booking __attribute__((weak, visibility("default")));

/* Where the libraries were loaded by dlopen: handed over by heapsum_attach. */
static const struct heapsum_booking *handed;

/* NULL: nobody is there to book. */
static const struct heapsum_mapping_booking *find_table(void) {
    const struct heapsum_booking *table = load_acquire(&handed); /* partner: use */
    if (likely(table == NULL)) table = &heapsum_booking;
    return table != NULL && table->version == BOOKING_VERSION ? table->mappings : NULL;
}

/* The table. The first call says that the hooks are there: an allocator may map before our constructor runs. */
static const struct heapsum_mapping_booking *booking(void) {
    static uint32_t has_begun;
    const struct heapsum_mapping_booking *table = find_table();
    if (table != NULL && unlikely(load_relaxed(&has_begun) == 0) && swap_relaxed(&has_begun, 1) == 0)
        table->begin((uintptr_t)&has_begun);
    return table;
}

static uint64_t number_before(void) {
    const struct heapsum_mapping_booking *table = booking();
    return table != NULL ? table->number() : 0;
}

#define CALL (&(struct mapping_call){HOOK_FRAME, HOOK_CALLER})

/* Books by one of the table's functions. Errno stays the real call's. */
#define BOOK(function, ...) \
    do { \
        const struct heapsum_mapping_booking *table = booking(); \
        if (table == NULL) break; \
        int saved = errno; \
        table->function(__VA_ARGS__); \
        errno = saved; \
    } while (0)

/* The real function, or NULL before this library is relocated: an IFUNC resolver may map that early. */
#define NEXT(name) const __typeof__(next_functions.name) real = passing_next_functions()->name

/* A system call that early, when errno may not exist yet. */
static long early(long answer) { return answer < 0 && answer >= -4095 ? -1 : answer; }

HOOK void *hook_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    NEXT(mmap);
    if (real == NULL) return (void *)early(SYSTEM_CALL6(SYS_mmap, at, bytes, protection, flags, fd, offset));
    uint64_t number = number_before();
    void *result = real(at, bytes, protection, flags, fd, offset);
    BOOK(mapped, CALL, number, result, at, bytes, protection, flags, fd);
    return result;
}

HOOK void *hook_mmap64(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
    NEXT(mmap64);
    if (real == NULL) return (void *)early(SYSTEM_CALL6(SYS_mmap, at, bytes, protection, flags, fd, offset));
    uint64_t number = number_before();
    void *result = real(at, bytes, protection, flags, fd, offset);
    BOOK(mapped, CALL, number, result, at, bytes, protection, flags, fd);
    return result;
}

HOOK int hook_munmap(void *at, size_t bytes) {
    NEXT(munmap);
    if (real == NULL) return (int)early(SYSTEM_CALL3(SYS_munmap, at, bytes, 0));
    uint64_t number = number_before();
    int result = real(at, bytes);
    if (result == 0) BOOK(unmapped, number, at, bytes);
    return result;
}

/* Variadic in its header, and called the same way: the next function ignores an address that its flags don't use. */
HOOK void *hook_mremap(void *from, size_t old_bytes, size_t bytes, int flags, void *at) {
    NEXT(mremap);
    if (real == NULL) return (void *)early(SYSTEM_CALL6(SYS_mremap, from, old_bytes, bytes, flags, at, 0));
    uint64_t number = number_before();
    void *result = real(from, old_bytes, bytes, flags, at);
    if (result != MAP_FAILED) BOOK(moved, CALL, number, from, old_bytes, result, bytes, flags);
    return result;
}

static uintptr_t break_now(void) { return (uintptr_t)SYSTEM_CALL3(SYS_brk, 0, 0, 0); }

/* libc keeps the break itself, so it is libc that moves it. It reports success for an address below the heap, too, and
 * moves nothing then. */
HOOK int hook_brk(void *at) {
    NEXT(brk);
    if (real == NULL) return -1;
    uint64_t number = number_before();
    uintptr_t before = break_now();
    int result = real(at);
    if (result == 0) BOOK(broke, CALL, number, before, break_now());
    return result;
}

HOOK void *hook_sbrk(intptr_t bytes) {
    NEXT(sbrk);
    if (real == NULL) return (void *)-1;
    uint64_t number = bytes != 0 ? number_before() : 0;
    void *result = real(bytes);
    if (result != (void *)-1 && bytes != 0)
        BOOK(broke, CALL, number, (uintptr_t)result, (uintptr_t)result + (uintptr_t)bytes);
    return result;
}

HOOK void *hook_shmat(int segment, const void *at, int flags) {
    NEXT(shmat);
    if (real == NULL) return (void *)early(SYSTEM_CALL3(SYS_shmat, segment, at, flags));
    void *result = real(segment, at, flags);
    if (result != (void *)-1) BOOK(attached, CALL, result, segment);
    return result;
}

HOOK int hook_shmdt(const void *at) {
    NEXT(shmdt);
    if (real == NULL) return (int)early(SYSTEM_CALL3(SYS_shmdt, at, 0, 0));
    int result = real(at);
    if (result == 0) BOOK(detached, at);
    return result;
}

HOOK int hook_madvise(void *at, size_t bytes, int advice) {
    NEXT(madvise);
    if (real == NULL) return (int)early(SYSTEM_CALL3(SYS_madvise, at, bytes, advice));
    int result = real(at, bytes, advice);
    if (result == 0) BOOK(advised, CALL, at, bytes, advice);
    return result;
}

__attribute__((constructor)) static void start(void) {
    passing_next_functions();
    booking();
}

/* ---- Libraries that are opened ----------------------------------------------------------------------------- */

/*
 * Each library that is linked with the usual start files calls this by name before its first constructor (crti.o's
 * _init), if anybody defines it; gprof's start file does so in a program. dlopen itself can't be interposed: it looks
 * at its return address.
 */
extern void __gmon_start__(void);
EXPORT void __gmon_start__(void) {
    const struct heapsum_mapping_booking *table = find_table();
    if (table != NULL) table->opened((uintptr_t)__builtin_return_address(0));
}

/* ---- In a program to which heaprun attached --------------------------------------------------------------- */

/* Each recording begins anew: the image of the one before is gone. */
static void use(const struct heapsum_booking *table) {
    store_release(&handed, table); /* partner: booking */
    table->mappings->begin((uintptr_t)&handed);
}

static const struct heapsum_mapping_hook hooks[] = {
#define NAMED(result, name, parameters) {#name, (void *)hook_##name},
    MAPPING_FUNCTIONS(NAMED)
#undef NAMED
};

extern const struct heapsum_mapping_hooks heapsum_mapping_hooks;
__attribute__((visibility("default"))) const struct heapsum_mapping_hooks heapsum_mapping_hooks = {
    BOOKING_VERSION, sizeof hooks / sizeof hooks[0], use, hooks};
