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
 * Only for release builds, and only on x86-64: on another architecture the tools need the glibc of their build.
 */
#if defined(HEAPSUM_OLDEST_GLIBC) && defined(__x86_64__)

#include <stddef.h>

/* A jump and not a call, so that any arguments pass, and the return address that dlsym looks at is the caller's. */
#define OLD(name, version) \
    __asm__(".pushsection .text\n" \
            ".globl " #name "\n" \
            ".hidden " #name "\n" \
            ".type " #name ", @function\n" \
            ".symver oldest_" #name ", " #name "@" version "\n" #name ":\n" \
            ".cfi_startproc\n" \
            "endbr64\n" \
            "jmp *oldest_" #name "@GOTPCREL(%rip)\n" \
            ".cfi_endproc\n" \
            ".size " #name ", . - " #name "\n" \
            ".popsection\n")

/* Moved to libc by 2.32 and 2.34. */
OLD(dladdr, "GLIBC_2.2.5");
OLD(dlclose, "GLIBC_2.2.5");
OLD(dlerror, "GLIBC_2.2.5");
OLD(dlopen, "GLIBC_2.2.5");
OLD(dlsym, "GLIBC_2.2.5");
OLD(pthread_create, "GLIBC_2.2.5");
OLD(pthread_detach, "GLIBC_2.2.5");
OLD(pthread_getaffinity_np, "GLIBC_2.3.4");
OLD(pthread_getattr_np, "GLIBC_2.2.5");
OLD(pthread_join, "GLIBC_2.2.5");
OLD(pthread_key_create, "GLIBC_2.2.5");
OLD(pthread_key_delete, "GLIBC_2.2.5");
OLD(pthread_getspecific, "GLIBC_2.2.5");
OLD(pthread_setspecific, "GLIBC_2.2.5");
OLD(pthread_kill, "GLIBC_2.2.5");
OLD(pthread_mutex_trylock, "GLIBC_2.2.5");
OLD(pthread_mutexattr_destroy, "GLIBC_2.2.5");
OLD(pthread_mutexattr_init, "GLIBC_2.2.5");
OLD(pthread_mutexattr_settype, "GLIBC_2.2.5");
OLD(pthread_once, "GLIBC_2.2.5");
OLD(pthread_setname_np, "GLIBC_2.12");
OLD(pthread_sigmask, "GLIBC_2.2.5");
OLD(sem_destroy, "GLIBC_2.2.5");
OLD(sem_init, "GLIBC_2.2.5");
OLD(sem_open, "GLIBC_2.2.5");
OLD(sem_post, "GLIBC_2.2.5");
OLD(sem_timedwait, "GLIBC_2.2.5");
OLD(sem_wait, "GLIBC_2.2.5");

/* In 2.29 and 2.35 these ceased to report errors to a function of the program's (matherr); their values are alike. */
OLD(exp, "GLIBC_2.2.5");
OLD(exp2, "GLIBC_2.2.5");
OLD(hypotf, "GLIBC_2.2.5");
OLD(log, "GLIBC_2.2.5");
OLD(log2, "GLIBC_2.2.5");
OLD(pow, "GLIBC_2.2.5");

/* Since 2.32 libc says here whether there is one thread only. libstdc++ then counts without atomics: never here. */
#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN char __libc_single_threaded = 0;

/*
 * Before 2.33 the program contained these itself, and passed the version of its struct stat (1) to functions that
 * every glibc still has. No header here: its declarations are of the newer ones.
 */
struct stat;
extern int __xstat(int version, const char *path, struct stat *out);
extern int __lxstat(int version, const char *path, struct stat *out);
extern int __fxstat(int version, int descriptor, struct stat *out);
extern int __fxstatat(int version, int directory, const char *path, struct stat *out, int flags);
HIDDEN int stat(const char *path, struct stat *out) { return __xstat(1, path, out); }
HIDDEN int lstat(const char *path, struct stat *out) { return __lxstat(1, path, out); }
HIDDEN int fstat(int descriptor, struct stat *out) { return __fxstat(1, descriptor, out); }
HIDDEN int fstatat(int directory, const char *path, struct stat *out, int flags) {
    return __fxstatat(1, directory, path, out, flags);
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
__asm__(".symver oldest_start, __libc_start_main@GLIBC_2.2.5");
HIDDEN int __libc_start_main(main_function *main, int count, char **arguments, constructor *begin, void (*end)(void),
    void (*unload)(void), void *stack) {
    return oldest_start(main, count, arguments, begin == NULL ? run_constructors : begin, end, unload, stack);
}

#endif
