/*
 * The parts of attaching that Swift can't express: finding functions in another process's modules, stopping one of its
 * threads at a safe place, and making calls in that thread. All policy is in Swift. Functions return 0 or more on
 * success and a negative errno on failure; nothing here prints.
 *
 * The kernel ties ptrace to the thread that attached: make all calls for one `attach_thread` from one thread.
 */
#ifndef HEAPSUM_CATTACH_H
#define HEAPSUM_CATTACH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- Modules of another process ------------------------------------------------------------------------- */

struct attach_module; /* a loaded ELF file's dynamic symbols, copied */

/* Reads the module whose file is mapped from `start`. NULL: not a module, or unreadable. */
struct attach_module *attach_module_read(pid_t pid, uint64_t start);
void attach_module_free(struct attach_module *module);
/* The address of the function, or of the variable, that the module defines; 0: it defines none. */
uint64_t attach_symbol(const struct attach_module *module, const char *name);
uint64_t attach_variable(const struct attach_module *module, const char *name);
/* From the end of the exported function before `name` to the start of the one after `last`: covers the object file of
 * both, with its static functions. False if either symbol is missing. */
int attach_symbol_span(
    const struct attach_module *module, const char *name, const char *last, uint64_t *start, uint64_t *end);
/* The address of an instruction sequence in the module's code; 0: not found. */
uint64_t attach_find_code(const struct attach_module *module, const uint8_t *code, size_t count);
/* The first and the last address of its executable segments. */
int attach_code_span(const struct attach_module *module, uint64_t *start, uint64_t *end);

/* ---- One thread of it ------------------------------------------------------------------------------------ */

struct attach_span {
    uint64_t start, end;
};

/* The code that the thread must be outside of, and the addresses to call. Filled in before any thread is stopped. */
struct attach_plan {
    pid_t pid;
    /* No frame of the thread's stack may lie in these: the allocator, the loader, functions that hold their locks. */
    struct attach_span forbidden[32];
    size_t forbidden_count;
    /* A thread that runs in these, and does not wait in a system call, may hold one of libc's locks. */
    struct attach_span busy[4];
    size_t busy_count;
    int only_outside; /* the allocator is part of the program's own code: only a thread that waits for input is safe */
    uint64_t system_call;    /* of `syscall; ret`, `svc #0; ret` */
    uint64_t signal_return;  /* of the code that calls rt_sigreturn */
    uint64_t errno_location; /* of __errno_location */
};

enum attach_state {
    ATTACH_SAFE = 1,
    ATTACH_IN_ALLOCATOR = 2, /* or in the loader */
    ATTACH_BUSY = 3,         /* in libc, and not waiting */
    ATTACH_NO_ROOM = 4,      /* its stack is too full, or unknown */
    ATTACH_UNKNOWN = 5,      /* its stack can't be followed, and one of its words may be a return into the allocator */
    ATTACH_STOPPED = 6,      /* by a signal or job control, or it did not stop in time */
    ATTACH_IN_SEQUENCE = 7,  /* in a restartable sequence (rseq) */
    ATTACH_FOREIGN_MODE = 8, /* 32-bit code */
    ATTACH_IN_VECTORS = 9,   /* it has registers in use that could not be given back: see thread.c */
};

struct attach_thread; /* a thread that is stopped for calls */

/*
 * Stops a thread and checks where it is. ATTACH_SAFE: it stays stopped; pass *thread to attach_release later. Any other
 * state: it runs on. -ESRCH: it has ended. -EPERM: it may not be traced.
 */
int attach_stop(const struct attach_plan *plan, pid_t tid, struct attach_thread **thread);

/*
 * Calls function(one, two) in the thread, on a separate stack; errno, registers and signals stay as they were. The
 * result goes into *answer. -ETIMEDOUT: it did not return within `milliseconds`; the thread was detached, will finish
 * the call and continue by itself, and *thread is invalid. -EFAULT: the call faulted; the thread's state was restored.
 */
int attach_call(struct attach_thread **thread, uint64_t function, uint64_t one, uint64_t two, unsigned milliseconds,
    uint64_t *answer);

/* Makes a system call in the thread. Returns its result, or the negative errno of the call or of ptrace. */
int64_t attach_system_call(struct attach_thread **thread, long number, const uint64_t arguments[6]);

/* Maps memory for calls in the thread's process. attach_release unmaps it. */
int attach_prepare(struct attach_thread **thread);
#define ATTACH_REGION_BYTES 262144u /* the size of that memory */

/* The address of ATTACH_ROOM bytes of it for arguments; 0 before attach_prepare or attach_call. */
#define ATTACH_ROOM 32768u
uint64_t attach_room(const struct attach_thread *thread);

/* Resumes the thread. Returns the nanoseconds for which it was stopped. */
uint64_t attach_release(struct attach_thread *thread);

/*
 * Whether a thread has a frame within [start, end): 1 or 0. The thread is stopped for about ten microseconds. A stack
 * that can't be followed is searched word by word.
 */
int attach_is_inside(const struct attach_plan *plan, pid_t tid, struct attach_span span, uint64_t *paused);

/* Copies memory of another process. Returns the number of bytes copied. */
ssize_t attach_read(pid_t pid, uint64_t address, void *buffer, size_t count);
ssize_t attach_write(pid_t pid, uint64_t address, const void *buffer, size_t count);

/* Frees the memory or the disk space of a file's first bytes, even if they are mapped. They then read as zero. */
int attach_give_back(int file, off_t bytes);

/* Whether libunwind can be loaded. Without it, only stacks without a doubtful word count as safe. */
int attach_has_unwinder(void);

/* Whether two processes share their memory (a vfork child does): 1, 0, or a negative errno. */
int attach_shares_memory(pid_t one, pid_t other);

#endif
