/*
 * The functions of other libraries that Symbols calls. elfutils' libdw and the decompressors are not linked, but opened
 * by dlopen when a file needs them: a run without source lines pays nothing for them, and the tools start without them.
 * The functions' types are those of the headers, if these are installed, so that the compiler checks each call. The
 * demanglers are linked: Swift's and the C++ runtime's are in the tools anyway, and libiberty's is a few kilobytes.
 *
 * All policy is in Swift; nothing here keeps state but the loaded functions.
 */
#ifndef HEAPSUM_SYMBOLS_H
#define HEAPSUM_SYMBOLS_H

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/version.h>
#include <fcntl.h>
#include <libelf.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* MARK: libdw */

#define SYMBOLS_LIBELF_FUNCTIONS(use) \
    use(elf_version) use(elf_begin) use(elf_memory) use(elf_end) use(elf_errno) use(elf_errmsg)
#define SYMBOLS_LIBDW_FUNCTIONS(use) \
    use(dwarf_begin_elf) use(dwarf_end) use(dwarf_errno) use(dwarf_errmsg) use(dwarf_get_units) use(dwarf_offdie) \
        use(dwarf_ranges) use(dwarf_getaranges) use(dwarf_onearange) use(dwarf_getarangeinfo) use(dwarf_tag) \
            use(dwarf_child) use(dwarf_siblingof) use(dwarf_dieoffset) use(dwarf_haspc) use(dwarf_diename) \
                use(dwarf_attr) use(dwarf_attr_integrate) use(dwarf_formstring) use(dwarf_formudata) \
                    use(dwarf_getsrclines) use(dwarf_getsrc_die) use(dwarf_linesrc) use(dwarf_lineno) \
                        use(dwarf_getsrcfiles) use(dwarf_filesrc) use(dwarf_setalt)

struct symbols_libdw {
#define SYMBOLS_MEMBER(name) __typeof__(&name) name;
    SYMBOLS_LIBELF_FUNCTIONS(SYMBOLS_MEMBER)
    SYMBOLS_LIBDW_FUNCTIONS(SYMBOLS_MEMBER)
#undef SYMBOLS_MEMBER
};

/* Fills in the functions. Returns NULL, or dlerror's text. libelf is loaded with libdw, which depends on it. */
static inline const char *symbols_load_libdw(struct symbols_libdw *out) {
    void *libdw = dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (libdw == NULL) return dlerror();
#define SYMBOLS_LOOK_UP(name) \
    if ((out->name = (__typeof__(&name))dlsym(libdw, #name)) == NULL) return dlerror();
    SYMBOLS_LIBELF_FUNCTIONS(SYMBOLS_LOOK_UP)
    SYMBOLS_LIBDW_FUNCTIONS(SYMBOLS_LOOK_UP)
#undef SYMBOLS_LOOK_UP
    return NULL;
}

/* MARK: Decompression: stable parts of zlib.h, zstd.h and lzma.h, from libraries that Debian's own base needs */

typedef int (*symbols_uncompress)(uint8_t *to, unsigned long *to_count, const uint8_t *from, unsigned long from_count);
typedef size_t (*symbols_zstd_decompress)(void *to, size_t to_count, const void *from, size_t from_count);
typedef unsigned (*symbols_zstd_is_error)(size_t code);
typedef int (*symbols_xz_decode)(uint64_t *memory_limit, uint32_t flags, const void *allocator, const uint8_t *from,
    size_t *from_position, size_t from_count, uint8_t *to, size_t *to_position, size_t to_count);
typedef uint32_t (*symbols_crc32)(const uint8_t *bytes, size_t count, uint32_t crc);

enum { SYMBOLS_XZ_OK = 0, SYMBOLS_XZ_STREAM_END = 1, SYMBOLS_XZ_BUF_ERROR = 10 };

/* A function of a library; NULL if the library or the function is missing. */
static inline void *symbols_function(const char *library, const char *name) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return handle == NULL ? NULL : dlsym(handle, name);
}

/* MARK: libdebuginfod: stable parts of elfutils/debuginfod.h. A result is a file descriptor or a negative errno. */

typedef int (*symbols_debuginfod_progress)(void *client, long done, long all);

struct symbols_debuginfod {
    void *(*debuginfod_begin)(void);
    void (*debuginfod_set_progressfn)(void *client, symbols_debuginfod_progress progress);
    int (*debuginfod_find_debuginfo)(void *client, const unsigned char *build_id, int count, char **path);
};

/* Fills in the functions. Returns NULL, or dlerror's text. */
static inline const char *symbols_load_debuginfod(struct symbols_debuginfod *out) {
    void *library = dlopen("libdebuginfod.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return dlerror();
#define SYMBOLS_LOOK_UP(name) \
    if ((out->name = (__typeof__(out->name))dlsym(library, #name)) == NULL) return dlerror();
    SYMBOLS_LOOK_UP(debuginfod_begin)
    SYMBOLS_LOOK_UP(debuginfod_set_progressfn)
    SYMBOLS_LOOK_UP(debuginfod_find_debuginfo)
#undef SYMBOLS_LOOK_UP
    return NULL;
}

/* The largest file that this process may write; a write beyond it fails. */
static inline void symbols_limit_files(uint64_t bytes) {
    struct rlimit limit = {bytes, bytes};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* MARK: Demangling. Each returns memory from malloc, or NULL. */

char *__cxa_demangle(const char *mangled, char *buffer, size_t *count, int *status);
char *swift_demangle(const char *mangled, size_t count, char *buffer, size_t *buffer_count, uint32_t flags);
char *rust_demangle(const char *mangled, int options);
enum { SYMBOLS_RUST_OPTIONS = 1 /* DMGL_PARAMS */ };

/* MARK: A helper process */

/*
 * Forks a helper with a socket to this process. Returns 0 in the helper and its PID in the parent; -1 with errno. The
 * helper can't write to the terminal, leaves no core file, dies with this process, and may map `memory` bytes more than
 * this process has mapped.
 */
static inline pid_t symbols_fork(int *end, uint64_t mapped, uint64_t memory) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return -1;
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return -1;
    }
    if (pid > 0) {
        close(ends[1]);
        *end = ends[0];
        return pid;
    }
    close(ends[0]);
    *end = ends[1];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    int nothing = open("/dev/null", O_RDWR);
    if (nothing >= 0) {
        dup2(nothing, 0);
        dup2(nothing, 1);
        dup2(nothing, 2);
    }
    struct rlimit none = {0, 0}, space = {mapped + memory, mapped + memory};
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_AS, &space);
    return 0;
}

/* The number of the system call in which a thread waits for a lock. */
enum { SYMBOLS_FUTEX = SYS_futex };

static inline int symbols_was_killed(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : 0; }

#endif
