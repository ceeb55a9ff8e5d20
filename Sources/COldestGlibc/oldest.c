/*
 * Lets the tools run under glibc 2.28, though they are built under a newer one. A linker binds each function to its
 * newest version in the glibc of the build, as pthread_create to GLIBC_2.34, and an older loader then refuses the whole
 * program. Nearly all of these functions did not change: they moved from libpthread or libdl to libc, or set errno in
 * rarer cases. So this file defines them, hidden, and passes each call to the version that every glibc has. All objects
 * of the executable are bound to these definitions, the Swift runtime's too. Shared libraries don't see them.
 *
 * The executable must also load libpthread.so.0 and libdl.so.2, in which these functions lie before 2.34:
 * Package.swift says so to the linker. `make test-packages` reads the versions that the executable asks for.
 *
 * Only for release builds. The first versions of x86-64 are 2.2.5 and a few that came with a function; those of
 * AArch64, which glibc has since 2.17, are all 2.17. On another architecture the tools need the glibc of their build.
 */
#if defined(HEAPSUM_OLDEST_GLIBC) && (defined(__x86_64__) || defined(__aarch64__))

#include <stddef.h>

/* A jump and not a call, so that any arguments pass, and the return address that dlsym looks at is the caller's. */
#if defined(__x86_64__)
#define FIRST "GLIBC_2.2.5"
#define SINCE(version) version
#define JUMP(name) "endbr64\njmp *" name "@GOTPCREL(%rip)\n"
#else
#define FIRST "GLIBC_2.17"
#define SINCE(version) FIRST
/* hint 34 is bti c, which older assemblers don't know by name. */
#define JUMP(name) "hint 34\nadrp x16, :got:" name "\nldr x16, [x16, :got_lo12:" name "]\nbr x16\n"
#endif
#define OLD(name, version) \
    __asm__(".pushsection .text\n" \
            ".globl " #name "\n" \
            ".hidden " #name "\n" \
            ".type " #name ", %function\n" \
            ".symver oldest_" #name ", " #name "@" version "\n" #name ":\n" \
            ".cfi_startproc\n" JUMP("oldest_" #name) ".cfi_endproc\n.size " #name ", . - " #name "\n.popsection\n")

/* Moved to libc by 2.32 and 2.34. */
OLD(dladdr, FIRST);
OLD(dlclose, FIRST);
OLD(dlerror, FIRST);
OLD(dlopen, FIRST);
OLD(dlsym, FIRST);
OLD(pthread_create, FIRST);
OLD(pthread_detach, FIRST);
OLD(pthread_getaffinity_np, SINCE("GLIBC_2.3.4"));
OLD(pthread_getattr_np, FIRST);
OLD(pthread_join, FIRST);
OLD(pthread_key_create, FIRST);
OLD(pthread_key_delete, FIRST);
OLD(pthread_getspecific, FIRST);
OLD(pthread_setspecific, FIRST);
OLD(pthread_kill, FIRST);
OLD(pthread_mutex_trylock, FIRST);
OLD(pthread_mutexattr_destroy, FIRST);
OLD(pthread_mutexattr_init, FIRST);
OLD(pthread_mutexattr_settype, FIRST);
OLD(pthread_once, FIRST);
OLD(pthread_setname_np, SINCE("GLIBC_2.12"));
OLD(pthread_sigmask, FIRST);
OLD(sem_destroy, FIRST);
OLD(sem_init, FIRST);
OLD(sem_open, FIRST);
OLD(sem_post, FIRST);
OLD(sem_timedwait, FIRST);
OLD(sem_wait, FIRST);

/* In 2.29 and 2.35 these ceased to report errors to a function of the program's (matherr); their values are alike. */
OLD(exp, FIRST);
OLD(exp2, FIRST);
OLD(hypotf, FIRST);
OLD(log, FIRST);
OLD(log2, FIRST);
OLD(pow, FIRST);

/* Since 2.32 libc says here whether there is one thread only. libstdc++ then counts without atomics: never here. */
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN char __libc_single_threaded = 0;

/*
 * Before 2.33 the program contained these itself, and passed the version of its struct stat to functions that every
 * glibc still has. No header here: its declarations are of the newer ones.
 */
#if defined(__x86_64__)
enum { stat_version = 1 };
#else
enum { stat_version = 0 };
#endif
struct stat;
extern int __xstat(int version, const char *path, struct stat *out);
extern int __lxstat(int version, const char *path, struct stat *out);
extern int __fxstat(int version, int descriptor, struct stat *out);
extern int __fxstatat(int version, int directory, const char *path, struct stat *out, int flags);
HIDDEN int stat(const char *path, struct stat *out) { return __xstat(stat_version, path, out); }
HIDDEN int lstat(const char *path, struct stat *out) { return __lxstat(stat_version, path, out); }
HIDDEN int fstat(int descriptor, struct stat *out) { return __fxstat(stat_version, descriptor, out); }
HIDDEN int fstatat(int directory, const char *path, struct stat *out, int flags) {
    return __fxstatat(stat_version, directory, path, out, flags);
}

/*
 * Before 2.34 the program ran its own constructors, by a function that it gave to __libc_start_main. The newer start
 * file gives none, and an older glibc would run no constructor. So this gives one, which every glibc calls. Destructors
 * are the loader's task in both.
 */
typedef void constructor(int count, char **arguments, char **environment);
extern void _init(void);
extern constructor *__init_array_start[] HIDDEN, *__init_array_end[] HIDDEN;
static void run_constructors(int count, char **arguments, char **environment) {
    _init();
    for (constructor **next = __init_array_start; next != __init_array_end; next++)
        (*next)(count, arguments, environment);
}

typedef int main_function(int count, char **arguments, char **environment);
extern int oldest_start(main_function *main, int count, char **arguments, constructor *begin, void (*end)(void),
    void (*unload)(void), void *stack);
__asm__(".symver oldest_start, __libc_start_main@" FIRST);
HIDDEN int __libc_start_main(main_function *main, int count, char **arguments, constructor *begin, void (*end)(void),
    void (*unload)(void), void *stack) {
    return oldest_start(main, count, arguments, begin == NULL ? run_constructors : begin, end, unload, stack);
}

#endif
