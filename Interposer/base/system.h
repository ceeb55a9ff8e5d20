/*
 * System calls without libc. A program may define its own `open`, `link` or `madvise`, and a preload may wrap them in
 * locks; a call by name would reach those. No function in here changes errno or is a cancellation point, and each is
 * async-signal-safe.
 *
 * Results are the kernel's: a negative one is a negated errno.
 */
#ifndef HEAPSUM_SYSTEM_H
#define HEAPSUM_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/machine.h"

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#define SYSTEM_CALL6(number, a, b, c, d, e, f) \
    system_call((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYSTEM_CALL4(number, a, b, c, d) SYSTEM_CALL6(number, a, b, c, d, 0, 0)
#define SYSTEM_CALL3(number, a, b, c) SYSTEM_CALL6(number, a, b, c, 0, 0, 0)

/*
 * What the process's own seccomp filter forbids: such a call of ours would end it. `looks`: opening files, and reading
 * memory through the kernel; recording can do without those. `files`: making and writing files (an image, a dump, a
 * message). Read and written whole.
 */
struct system_forbidden {
    bool looks, files;
    uint32_t process; /* 0, or the vfork's child that alone is forbidden them */
} __attribute__((aligned(8)));
extern HIDDEN struct system_forbidden system_forbidden;

static inline uint32_t system_process(void);
static inline bool system_forbids(bool looks) {
    struct system_forbidden forbidden;
    __atomic_load(&system_forbidden, &forbidden, __ATOMIC_RELAXED);
    if (__builtin_expect(!(looks ? forbidden.looks : forbidden.files), 1)) return false;
    return forbidden.process == 0 || forbidden.process == system_process();
}
static inline bool system_may_write(void) { return !system_forbids(false); }
static inline bool system_may_look(void) { return !system_forbids(true); }

/* ---- Files ------------------------------------------------------------------------------------------ */

/*
 * Our descriptors are open only for moments. Open ones are noted, because another thread of the program may fork then,
 * and a child that never execs would keep them for good.
 */
int system_open(const char *path, int flags, mode_t mode);
int system_open_at(int directory, const char *path, int flags);
/* Opens a file of this process for reading: "maps" is /proc/thread-self/maps. In /proc/self a process whose first
 * thread has ended finds maps and cmdline empty, and no exe. */
int system_open_own(const char *name);
/* A file in memory, without a path, which nobody can execute. */
int system_memory_file(const char *name);
int system_socket(int domain, int type);
int system_close(int fd);

/* Closes, in a fork's child, those that were open in its parent. Closes none of the program's. */
void system_close_inherited(void);

static inline long system_read(int fd, void *to, size_t room) { return SYSTEM_CALL3(SYS_read, fd, to, room); }
static inline long system_pread(int fd, void *to, size_t room, uint64_t at) {
    return SYSTEM_CALL4(SYS_pread64, fd, to, room, at);
}
static inline long system_pwrite(int fd, const void *from, size_t bytes, uint64_t at) {
    return SYSTEM_CALL4(SYS_pwrite64, fd, from, bytes, at);
}
static inline long system_writev(int fd, const struct iovec *parts, int count) {
    return SYSTEM_CALL3(SYS_writev, fd, parts, count);
}
static inline int system_truncate(int fd, uint64_t bytes) { return (int)SYSTEM_CALL3(SYS_ftruncate, fd, bytes, 0); }
static inline int system_unlink(const char *path) { return (int)SYSTEM_CALL3(SYS_unlinkat, AT_FDCWD, path, 0); }
static inline int system_link(const char *from, const char *to) {
    return (int)SYSTEM_CALL6(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0, 0);
}
/* `flags`: RENAME_NOREPLACE and so on. */
static inline int system_rename(const char *from, const char *to, unsigned flags) {
    return (int)SYSTEM_CALL6(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags, 0);
}
static inline int system_stat(const char *path, struct stat *status) {
    return (int)SYSTEM_CALL4(SYS_newfstatat, AT_FDCWD, path, status, 0);
}
static inline int system_stat_at(int directory, const char *path, struct stat *status) {
    return (int)SYSTEM_CALL4(SYS_newfstatat, directory, path, status, 0);
}
/* Whether the process may read (R_OK) or execute (X_OK) a file, by its effective user as open and exec do; before Linux
 * 5.8, by its real user. */
static inline int system_access_at(int directory, const char *path, int mode) {
    int answer = (int)SYSTEM_CALL4(SYS_faccessat2, directory, path, mode, AT_EACCESS);
    return answer == -ENOSYS || answer == -EPERM ? (int)SYSTEM_CALL4(SYS_faccessat, directory, path, mode, 0) : answer;
}
static inline long system_read_link(const char *path, char *to, size_t room) {
    return SYSTEM_CALL4(SYS_readlinkat, AT_FDCWD, path, to, room);
}
/* Returns the length with the NUL. A directory that can't be reached from the root begins with "(unreachable)". */
static inline long system_working_directory(char *to, size_t room) { return SYSTEM_CALL3(SYS_getcwd, to, room, 0); }

/* ---- Memory ----------------------------------------------------------------------------------------- */

/* NULL if the kernel refuses. */
static inline void *system_map(void *at, size_t bytes, int protection, int flags, int fd) {
    long answer = SYSTEM_CALL6(SYS_mmap, at, bytes, protection, flags, fd, 0);
    return answer < 0 && answer >= -4095 ? NULL : (void *)answer;
}
static inline void *system_map_memory(size_t bytes) {
    return system_map(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}
static inline int system_unmap(void *at, size_t bytes) { return (int)SYSTEM_CALL3(SYS_munmap, at, bytes, 0); }
static inline int system_protect(uintptr_t at, size_t bytes, int protection) {
    return (int)SYSTEM_CALL3(SYS_mprotect, at, bytes, protection);
}
static inline int system_advise(void *at, size_t bytes, int advice) {
    return (int)SYSTEM_CALL3(SYS_madvise, at, bytes, advice);
}
static inline int system_resident(uintptr_t at, size_t bytes, unsigned char *pages) {
    return (int)SYSTEM_CALL3(SYS_mincore, at, bytes, pages);
}
static inline int system_lock(uintptr_t at, size_t bytes, bool on_fault) {
    return (int)SYSTEM_CALL3(SYS_mlock2, at, bytes, on_fault ? MLOCK_ONFAULT : 0);
}
static inline int system_unlock(uintptr_t at, size_t bytes) { return (int)SYSTEM_CALL3(SYS_munlock, at, bytes, 0); }
/* Touches a page for writing: a futex operation that atomically adds 0 to a word and wakes nobody. It fails where a
 * store would raise SIGBUS. */
static inline int system_touch(void *word) {
    static uint32_t nobody;
    return (int)SYSTEM_CALL6(SYS_futex, &nobody, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, word,
        FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 1));
}
static inline bool system_limit(int resource, struct rlimit *limit) {
    return SYSTEM_CALL4(SYS_prlimit64, 0, resource, NULL, limit) == 0;
}
static inline uint64_t system_memory_bytes(uint64_t otherwise) {
    struct sysinfo info;
    return SYSTEM_CALL3(SYS_sysinfo, &info, 0, 0) == 0 ? (uint64_t)info.totalram * info.mem_unit : otherwise;
}

/* ---- Processes, threads, signals -------------------------------------------------------------------- */

static inline uint32_t system_process(void) { return (uint32_t)SYSTEM_CALL3(SYS_getpid, 0, 0, 0); }
static inline uint32_t system_parent(void) { return (uint32_t)SYSTEM_CALL3(SYS_getppid, 0, 0, 0); }
static inline uint32_t system_thread(void) { return (uint32_t)SYSTEM_CALL3(SYS_gettid, 0, 0, 0); }
static inline int system_signal_thread(uint32_t process, uint32_t thread, int signal) {
    return (int)SYSTEM_CALL3(SYS_tgkill, process, thread, signal);
}
static inline void system_yield(void) { SYSTEM_CALL3(SYS_sched_yield, 0, 0, 0); }
static inline int system_alternate_stack(stack_t *now) { return (int)SYSTEM_CALL3(SYS_sigaltstack, NULL, now, 0); }

/* The kernel's set of signals: bit n - 1 is signal n. */
typedef uint64_t system_signals;
static inline system_signals system_signals_of(int signal) { return 1ull << (signal - 1); }
static inline int system_mask(int how, system_signals set, system_signals *before) {
    return (int)SYSTEM_CALL4(SYS_rt_sigprocmask, how, &set, before, sizeof set);
}
/* All but those by which the processor or the kernel answers what a thread does: blocked, they would end the process.
 */
#define SYSTEM_SIGNALS_FROM_ELSEWHERE \
    (~(system_signals_of(SIGILL) | system_signals_of(SIGTRAP) | system_signals_of(SIGBUS) | system_signals_of(SIGFPE) \
        | system_signals_of(SIGSEGV) | system_signals_of(SIGSYS)))

/* ---- Time ------------------------------------------------------------------------------------------- */

/* Calls the vDSO, without a system call if possible; see system.c. */
extern HIDDEN int (*system_clock_function)(clockid_t, struct timespec *);
static inline struct timespec system_clock(clockid_t clock) {
    struct timespec now = {0, 0};
    int (*function)(clockid_t, struct timespec *) = __atomic_load_n(&system_clock_function, __ATOMIC_RELAXED);
    if (__builtin_expect(function == NULL, 0) || function(clock, &now) != 0)
        SYSTEM_CALL3(SYS_clock_gettime, clock, &now, 0);
    return now;
}
static inline uint64_t system_nanoseconds(clockid_t clock) {
    struct timespec now = system_clock(clock);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
