/*
 * The parts of a verdict that Swift can't express: stopping threads by ptrace, a copy-on-write clone of a stopped
 * process, reading another process's memory, and a prefetch. All policy is in Swift. Each function returns 0 or more on
 * success and a negative errno on failure; nothing here prints.
 *
 * The kernel ties ptrace to the thread that attached: make all calls for one `leaks_stop` from one thread.
 */
#ifndef HEAPSUM_LEAKS_H
#define HEAPSUM_LEAKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A stopped thread's registers, as words that may be pointers; leaks_register_name has their names. On AArch64 the last
 * eight are the halves of vector registers that functions keep for their callers.
 */
#if defined(__aarch64__)
#define LEAKS_REGISTERS 42
#else
#define LEAKS_REGISTERS 27
#endif

struct leaks_thread {
    pid_t tid;
    int is_stopped;     /* 0: it did not stop in time (it runs or is in uninterruptible sleep): no registers */
    int in_system_call; /* it was stopped in a system call: nothing below its stack pointer is in use */
    uint64_t stack_pointer, thread_pointer;
    uint64_t registers[LEAKS_REGISTERS];
    const uint8_t *vectors; /* in the kernel's format (XSAVE, NT_ARM_SVE or NT_PRFPREG), or NULL */
    size_t vector_bytes;
};

struct leaks_stop; /* a process's threads, while they are stopped */

/*
 * Stops all threads of `pid`. The pause begins when the first thread is interrupted. On failure all threads run on:
 * -EPERM (this user may not trace it, or another tracer does), -ESRCH (it has ended), -ENOEXEC (a thread runs in 32-bit
 * mode), -ENOTSUP (this processor is not supported), -EAGAIN (no thread stopped).
 */
int leaks_stop_all(pid_t pid, struct leaks_stop **stop);
size_t leaks_thread_count(const struct leaks_stop *stop);
const struct leaks_thread *leaks_thread_at(const struct leaks_stop *stop, size_t index);
const char *leaks_register_name(size_t number);

/* Where the process has an instruction for a system call, with a return behind it if `signal_return` is not 0; and the
 * code that calls rt_sigreturn, to which signal handlers return. */
struct leaks_code {
    uint64_t system_call, signal_return;
};
/* Finds both in machine code that lies at `start` in the process; 0: it is not there. */
struct leaks_code leaks_find_code(const uint8_t *bytes, size_t count, uint64_t start);

/*
 * Makes the stopped process clone itself, in two steps, so that the caller can work while the kernel copies the page
 * tables. The clone never runs, and dies with this tool. `floors` has the lowest address of each thread's own stack, or
 * 0; it may be NULL. If a thread has room on its stack, and `code` has both places, the program goes on even if this
 * tool is killed meanwhile. finish returns the clone's PID or a negative errno; it must follow a begin that succeeded.
 * Both return -ETIMEDOUT if the thread sleeps for ten seconds without a break instead (the process was frozen, or the
 * thread is in uninterruptible sleep): it finds home by itself when this tool's thread ends. begin returns -EAGAIN if
 * no thread could be led into the call. finish returns -EINTR if signals came in between each time that the thread made
 * it.
 */
int leaks_clone_begin(struct leaks_stop *stop, const struct leaks_code *code, const uint64_t *floors);
pid_t leaks_clone_finish(struct leaks_stop *stop);

/* Whether job control has stopped the process (SIGSTOP, a terminal's Ctrl-Z): no thread can make a call before a
 * SIGCONT. O(threads). */
int leaks_is_job_stopped(const struct leaks_stop *stop);

/* Resumes all threads. Returns the nanoseconds from the first interruption until the last thread was resumed. */
uint64_t leaks_go_on(struct leaks_stop *stop);

/* Kills a clone. Then a thread of its parent has to be stopped, and made to wait for it; otherwise the parent would
 * keep a zombie. `inner` is the clone's PID in its parent's PID namespace. -EAGAIN: there was nothing to wait for yet,
 * or no thread could make the call. */
void leaks_kill_clone(pid_t clone);
int leaks_wait_for(struct leaks_stop *stop, pid_t inner, const struct leaks_code *code, const uint64_t *floors);

/*
 * Reads the registers of threads that the caller's tracer has already stopped. `tids` lists them. This stops no thread,
 * and leaks_forget resumes none.
 */
int leaks_held(pid_t pid, const pid_t *tids, size_t count, struct leaks_stop **stop);
void leaks_forget(struct leaks_stop *stop);

/* ---- Tracing a program up to its end ---- */

enum leaks_event {
    LEAKS_EVENT_NONE = 0,        /* it has ended, or the status is no stop */
    LEAKS_EVENT_SIGNAL = 1,      /* a signal is about to be delivered */
    LEAKS_EVENT_GROUP_STOP = 2,  /* job control stopped it */
    LEAKS_EVENT_INTERRUPTED = 3, /* a new thread's first stop, or a requested one */
    LEAKS_EVENT_CHILD = 4,       /* it made a thread or a process, which is traced too */
    LEAKS_EVENT_EXIT = 5,        /* it is ending, and its memory still exists */
    LEAKS_EVENT_LEAVING = 6,     /* it announces an exec (HEAP_LEAVING_NOTICE) */
};

/* The event that a wait status reports; a signal's number is WSTOPSIG of the status. */
enum leaks_event leaks_event_of(pid_t tid, int status);
/* ptrace's options for tracing a program from its start: its threads, and with `follow` its child processes. */
unsigned long leaks_trace_options(int follow);
/* Resumes a thread, with a signal or 0. */
int leaks_continue(pid_t tid, int signal);
/*
 * Interrupts a thread, so that it stops, and knows what it was waiting for. NULL: no memory. When it has stopped
 * (LEAKS_EVENT_INTERRUPTED), call leaks_interrupted: from then on its call goes on even if this tool is killed.
 * leaks_continue_interrupted resumes the thread, back into its call, and frees the value. It may be NULL, for a stop
 * that was not asked for. `turn` is for all threads of a process that are resumed together; else NULL.
 */
struct leaks_interruption;
struct leaks_interruption *leaks_interrupt(pid_t pid, pid_t tid);
void leaks_interrupted(pid_t tid, struct leaks_interruption *interruption);
void leaks_forget_interruption(struct leaks_interruption *interruption);
/* Which signals that were sent to the process its threads have still to take. */
struct leaks_turn {
    pid_t pid;
    uint64_t shared, others;
};
struct leaks_turn leaks_turns(pid_t pid);
int leaks_continue_interrupted(pid_t tid, struct leaks_interruption *interruption, struct leaks_turn *turn);
/* Keeps a thread in job control's stop until a SIGCONT. */
int leaks_listen(pid_t tid);
/* A thread's next stop: 1 with its status; 0: none yet; a negative errno: it has ended. */
int leaks_poll(pid_t tid, int *status);
/* The number of the system call in which the thread ends; negative: none, or unreadable. */
long leaks_system_call_of(pid_t tid);

struct leaks_pages {
    uint64_t start, end;
};

enum leaks_page_kind {
    LEAKS_PAGES_PRIVATE = 0, /* pages that the process wrote; not unchanged pages of a file */
    LEAKS_PAGES_ANY = 1,
};

/*
 * The runs of present pages in [start, end), in memory or swapped out. Both ends are multiples of the kernel's pages.
 * `pagemap` is the open /proc/PID/pagemap of the process. Returns the number of runs; if it is `capacity`, call again
 * from the end of the last run.
 */
ssize_t leaks_resident(
    int pagemap, uint64_t start, uint64_t end, enum leaks_page_kind kind, struct leaks_pages *runs, size_t capacity);

/* ---- What waits in pipes and sockets ---- */

/* A pidfd of a process, and a copy of one of its descriptors. -ENOSYS before Linux 5.6. */
int leaks_open_process(pid_t pid);
int leaks_take_descriptor(int process, int number);
/* The number of bytes that wait to be read; for a datagram socket, the size of the first datagram. */
ssize_t leaks_waiting(int descriptor);
int leaks_is_stream(int descriptor);
/* Copies the waiting data and leaves it in place. Returns the number of bytes. */
ssize_t leaks_peek_pipe(int descriptor, void *buffer, size_t count);
ssize_t leaks_peek_socket(int descriptor, void *buffer, size_t count);

static inline void leaks_prefetch(const void *address) { __builtin_prefetch(address, 0, 1); }

#endif
