/*
 * What attaching needs of Linux that Swift can't say: functions found in another process's modules, one of its threads
 * stopped where that does no harm, and calls made in that thread. All policy is in Swift. Functions return 0 or more
 * where they succeed and a negative errno where they don't; nothing here prints.
 *
 * ptrace belongs to the thread that attached: all calls for one `attach_thread` come from one thread.
 */
#ifndef HEAPSUM_CATTACH_H
#define HEAPSUM_CATTACH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- Modules of another process ------------------------------------------------------------------------- */

struct attach_module; /* a loaded ELF file's dynamic symbols, copied */

/* Reads the module whose file begins at `start`. NULL: it is none, or can't be read. */
struct attach_module *attach_module_read(pid_t pid, uint64_t start);
void attach_module_free(struct attach_module *module);
/* The address of what it defines by this name; 0 where it has none. */
uint64_t attach_symbol(const struct attach_module *module, const char *name);
/* From the end of the exported function before `name` to the start of the one behind `last`: the object file that both
 * came from, with its static functions. False where either is not there. */
int attach_symbol_span(
    const struct attach_module *module, const char *name, const char *last, uint64_t *start, uint64_t *end);
/* The address of an instruction sequence in the module's code; 0 where it has none. */
uint64_t attach_find_code(const struct attach_module *module, const uint8_t *code, size_t count);
/* The first and the last address of its executable segments. */
int attach_code_span(const struct attach_module *module, uint64_t *start, uint64_t *end);

/* ---- One thread of it ------------------------------------------------------------------------------------ */

struct attach_span {
    uint64_t start, end;
};

/* Where a thread may not be, and what is called. Filled in before anything is stopped. */
struct attach_plan {
    pid_t pid;
    /* No frame of the thread's stack may lie in these: the allocator, the loader, what holds their locks. */
    struct attach_span forbidden[32];
    size_t forbidden_count;
    /* A thread that is at work in these, and does not wait in a system call, may hold a lock of libc's. */
    struct attach_span busy[4];
    size_t busy_count;
    int only_outside; /* the allocator lies among the program's own code: only a thread that waits for input is safe */
    uint64_t system_call;    /* of `syscall; ret` */
    uint64_t signal_return;  /* of the code that calls rt_sigreturn */
    uint64_t errno_location; /* of __errno_location */
};

enum attach_state {
    ATTACH_SAFE = 1,
    ATTACH_IN_ALLOCATOR = 2, /* or in the loader */
    ATTACH_BUSY = 3,         /* in libc, and not waiting */
    ATTACH_NO_ROOM = 4,      /* its stack is too full, or not known */
    ATTACH_UNKNOWN = 5,      /* its stack can't be followed, and a word of it may be a return into the allocator */
    ATTACH_STOPPED = 6,      /* by a signal or job control, or it did not stop in time */
    ATTACH_IN_SEQUENCE = 7,  /* in a restartable sequence (rseq) */
    ATTACH_FOREIGN_MODE = 8, /* 32-bit code */
};

struct attach_thread; /* a thread that is stopped for calls */

/*
 * Stops a thread and looks where it is. ATTACH_SAFE: it stands still, and *thread is to be given to attach_release. Any
 * other state: it goes on as before. -ESRCH: it is gone. -EPERM: it may not be traced.
 */
int attach_stop(const struct attach_plan *plan, pid_t tid, struct attach_thread **thread);

/*
 * Calls function(one, two) in the thread, on a stack of its own, as if nothing had been: errno, registers, signals. Its
 * answer goes into *answer. -ETIMEDOUT: it did not return within `milliseconds`; the thread was let go, will finish the
 * call by itself and go on, and *thread is void. -EFAULT: it faulted, and was put back.
 */
int attach_call(struct attach_thread **thread, uint64_t function, uint64_t one, uint64_t two, unsigned milliseconds,
    uint64_t *answer);

/* A system call in the thread: its answer, or the negative errno of either. */
int64_t attach_system_call(struct attach_thread **thread, long number, const uint64_t arguments[6]);

/* Gets memory in the thread's process, for calls: it is gone with attach_release. */
int attach_prepare(struct attach_thread **thread);
#define ATTACH_REGION_BYTES 262144u /* so much */

/* Room for arguments in it, of ATTACH_ROOM bytes; 0 before attach_prepare or attach_call. */
#define ATTACH_ROOM 32768u
uint64_t attach_room(const struct attach_thread *thread);

/* The thread goes on. Nanoseconds for which it stood still. */
uint64_t attach_release(struct attach_thread *thread);

/*
 * Whether a thread has a frame within [start, end): 1 or 0; it is stopped for the look alone, for some ten
 * microseconds. A stack that can't be followed is looked through word by word.
 */
int attach_is_inside(const struct attach_plan *plan, pid_t tid, struct attach_span span, uint64_t *paused);

/* Copies memory of another process; how many bytes. */
ssize_t attach_read(pid_t pid, uint64_t address, void *buffer, size_t count);
ssize_t attach_write(pid_t pid, uint64_t address, const void *buffer, size_t count);

/* Gives back the memory or the disk space of a file's first bytes, whoever has them mapped: they read as zero then. */
int attach_give_back(int file, off_t bytes);

/* Whether libunwind can be used from here: else only stacks without a doubtful word are safe. */
int attach_has_unwinder(void);

/* Whether two processes share their memory (a vfork's child): 1, 0, or a negative errno. */
int attach_shares_memory(pid_t one, pid_t other);

#endif
