/*
 * System calls that keep state: the clock, and open descriptors.
 */
#include "base/system.h"

#include <string.h>

#include "base/atomics.h"
#include "base/changed.h"

/*
 * The clock: the vDSO's function, found at the start. NULL: there is none, and each reading is a system call. libc's
 * clock_gettime is not used: a program may define that name, as libraries that fake the time do, and an image's times
 * must be the kernel's.
 */
int (*system_clock_function)(clockid_t, struct timespec *);

struct system_forbidden system_forbidden;

uint32_t code_is_changed;

/* ---- Descriptors ---------------------------------------------------------------------------------------- */

/* Open at a time; more are not noted. */
#define DESCRIPTORS_MOST 16
static uint32_t descriptors[DESCRIPTORS_MOST]; /* number + 1; 0: free */
static uint32_t owner;                         /* the process whose descriptors they are; 0: not known yet */

/* Notes a descriptor, but not in a vfork's child: it shares this memory and has its own descriptors. */
static int noted(int fd) {
    uint32_t none = 0, process = system_process(), nobody = 0;
    if (!cas_relaxed(&owner, &nobody, process) && nobody != process) return fd;
    for (int i = 0; fd >= 0 && i < DESCRIPTORS_MOST; i++, none = 0)
        if (cas_relaxed(&descriptors[i], &none, (uint32_t)fd + 1)) break;
    return fd;
}

int system_open(const char *path, int flags, mode_t mode) {
    return noted((int)SYSTEM_CALL4(SYS_openat, AT_FDCWD, path, flags, mode));
}

int system_open_at(int directory, const char *path, int flags) {
    return noted((int)SYSTEM_CALL4(SYS_openat, directory, path, flags, 0));
}

int system_open_own(const char *name) {
    char path[64];
    const char *places[] = {"/proc/thread-self/", "/proc/self/"}; /* the first is there since Linux 3.17 */
    int fd = -ENOENT;
    for (int i = 0; i < 2 && fd < 0; i++) {
        size_t length = strlen(places[i]);
        memcpy(path, places[i], length);
        memcpy(path + length, name, strlen(name) + 1);
        fd = system_open(path, O_RDONLY | O_CLOEXEC, 0);
    }
    return fd;
}

/* The flag for a file that is never executed. Since Linux 6.3 a system may refuse memory files without this flag
 * (vm.memfd_noexec); an older kernel does not know the flag. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int system_memory_file(const char *name) {
    int fd = (int)SYSTEM_CALL3(SYS_memfd_create, name, MFD_CLOEXEC | MFD_NOEXEC_SEAL, 0);
    return noted(fd == -EINVAL ? (int)SYSTEM_CALL3(SYS_memfd_create, name, MFD_CLOEXEC, 0) : fd);
}

int system_socket(int domain, int type) { return noted((int)SYSTEM_CALL3(SYS_socket, domain, type, 0)); }

/* Removes the note first: once the descriptor is closed, its number may be the program's. */
int system_close(int fd) {
    uint32_t note = (uint32_t)fd + 1;
    for (int i = 0; i < DESCRIPTORS_MOST; i++, note = (uint32_t)fd + 1)
        if (cas_relaxed(&descriptors[i], &note, 0)) break;
    fence_compiler();
    return (int)SYSTEM_CALL3(SYS_close, fd, 0, 0);
}

void system_close_inherited(void) {
    store_relaxed(&owner, system_process());
    for (int i = 0; i < DESCRIPTORS_MOST; i++) {
        uint32_t note = swap_relaxed(&descriptors[i], 0);
        if (note != 0) SYSTEM_CALL3(SYS_close, note - 1, 0, 0);
    }
}
