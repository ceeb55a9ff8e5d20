/*
 * What a verdict needs of Linux that Swift can't say: threads stopped by ptrace, a copy-on-write clone of a stopped
 * process, memory of another process, and a prefetch. All policy is in Swift. Each function returns 0 or more where it
 * succeeds, and a negative errno where it doesn't; nothing here prints.
 *
 * ptrace belongs to the thread that attached: all calls for one `leaks_stop` come from one thread.
 */
#ifndef HEAPSUM_LEAKS_H
#define HEAPSUM_LEAKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A stopped thread's registers, as words that may be pointers; their names are leaks_register_name's. */
#define LEAKS_REGISTERS 27

struct leaks_thread {
    pid_t tid;
    int is_stopped; /* 0: it did not stop in time, and runs or sleeps uninterruptibly: its registers are not known */
    int in_system_call; /* it was stopped in one: nothing below its stack pointer is its own */
    uint64_t stack_pointer, thread_pointer;
    uint64_t registers[LEAKS_REGISTERS];
    const uint8_t *vectors; /* the processor's own format (XSAVE), or NULL */
    size_t vector_bytes;
};

struct leaks_stop; /* a process's threads, while they are stopped */

/*
 * Stops all threads of `pid`. The pause begins with the first thread that is interrupted. Where this fails, everything
 * goes on as before: -EPERM (not ours to trace, or another traces it), -ESRCH (gone), -ENOEXEC (a thread runs in 32-bit
 * mode), -ENOTSUP (a processor that this is not written for), -EAGAIN (no thread would stop).
 */
int leaks_stop_all(pid_t pid, struct leaks_stop **stop);
size_t leaks_thread_count(const struct leaks_stop *stop);
const struct leaks_thread *leaks_thread_at(const struct leaks_stop *stop, size_t index);
const char *leaks_register_name(size_t number);

/*
 * Makes the stopped process clone itself, in two steps: what is done between them runs while the kernel copies the page
 * tables. `system_call` is the address of a `syscall` instruction in the process. The clone never runs, and dies with
 * us. finish: the clone's PID, or a negative errno; must follow a begin that succeeded.
 */
int leaks_clone_begin(struct leaks_stop *stop, uint64_t system_call);
pid_t leaks_clone_finish(struct leaks_stop *stop);

/* All threads go on as if nothing had been. Nanoseconds from the first interruption to the last thread's going on. */
uint64_t leaks_go_on(struct leaks_stop *stop);

/* Kills a clone and makes its parent wait for it, or the parent would keep a zombie. `inner` is the clone's number as
 * its parent knows it, in a PID namespace of its own. */
int leaks_end_clone(pid_t parent, pid_t clone, pid_t inner, uint64_t system_call);

/*
 * A process whose threads stand still already, as the tracer holds them: theirs are the registers. Nothing is stopped,
 * and leaks_forget lets nobody go on. `tids`: those to be read.
 */
int leaks_held(pid_t pid, const pid_t *tids, size_t count, struct leaks_stop **stop);
void leaks_forget(struct leaks_stop *stop);

/* ---- Tracing a program up to its end ---- */

enum leaks_event {
    LEAKS_EVENT_NONE = 0,        /* it has ended, or this is no stop */
    LEAKS_EVENT_SIGNAL = 1,      /* a signal is about to be delivered */
    LEAKS_EVENT_GROUP_STOP = 2,  /* job control stopped it */
    LEAKS_EVENT_INTERRUPTED = 3, /* a new thread's first stop, or one that was asked for */
    LEAKS_EVENT_CHILD = 4,       /* it made a thread or a process, which is traced too */
    LEAKS_EVENT_EXIT = 5,        /* it ends, and its memory is still there */
    LEAKS_EVENT_LEAVING = 6,     /* it says that it is about to exec (HEAP_LEAVING_NOTICE) */
};

/* What a wait status says; for a signal its number is WSTOPSIG. */
enum leaks_event leaks_event_of(pid_t tid, int status);
/* The options with which a program is traced from its start: its threads, and with `follow` its child processes. */
unsigned long leaks_trace_options(int follow);
/* Goes on, with a signal or 0. */
int leaks_continue(pid_t tid, int signal);
/* Goes on from a stop that leaks_interrupt asked for, back into the call that it ended. */
int leaks_continue_interrupted(pid_t tid);
/* Stays stopped as job control wants it, until a SIGCONT. */
int leaks_listen(pid_t tid);
int leaks_interrupt(pid_t tid);
/* The next stop of a thread: 1 with its status; 0 there is none yet; a negative errno where it is gone. */
int leaks_poll(pid_t tid, int *status);
/* The number of the system call that the thread is in; negative: it is in none, or that can't be read. */
long leaks_system_call_of(pid_t tid);

/*
 * Changes the registers (struct user_regs_struct) of a thread that an interruption took out of a system call, so that
 * it is put back into that: some calls answer EINTR to any wake-up, and the kernel does not restart them by itself.
 */
void leaks_resume(void *registers);

/* Copies memory of a process: how many bytes from `address` on could be read. */
ssize_t leaks_read(pid_t pid, uint64_t address, void *buffer, size_t count);

struct leaks_pages {
    uint64_t start, end;
};

enum leaks_page_kind {
    LEAKS_PAGES_PRIVATE = 0, /* pages that the process wrote: not those that are a file's still */
    LEAKS_PAGES_ANY = 1,
};

/*
 * The runs of pages of [start, end) that are there, in memory or swapped out; `pagemap` is the process's
 * /proc/PID/pagemap, open. How many runs: where it is `capacity`, go on from the last one's end.
 */
ssize_t leaks_resident(
    int pagemap, uint64_t start, uint64_t end, enum leaks_page_kind kind, struct leaks_pages *runs, size_t capacity);

/* ---- What waits in pipes and sockets ---- */

/* A descriptor for a process, and a copy of one of its own descriptors. -ENOSYS before Linux 5.6. */
int leaks_open_process(pid_t pid);
int leaks_take_descriptor(int process, int number);
/* How many bytes wait to be read; of a socket of datagrams those of the first. */
ssize_t leaks_waiting(int descriptor);
int leaks_is_stream(int descriptor);
/* Copies of what waits, which stays there: how many bytes. */
ssize_t leaks_peek_pipe(int descriptor, void *buffer, size_t count);
ssize_t leaks_peek_socket(int descriptor, void *buffer, size_t count);

static inline void leaks_prefetch(const void *address) { __builtin_prefetch(address, 0, 1); }

#endif
