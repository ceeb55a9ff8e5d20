/*
 * Stops all threads of a process and resumes them so that none of them notices.
 *
 * It uses PTRACE_SEIZE, not ATTACH, which sends a SIGSTOP that a program could see. The interruption takes a waiting
 * thread out of its system call. The kernel restarts most calls by itself, but some return EINTR on any wake-up
 * (signal(7)). For these the thread gets the result ERESTARTNOHAND: the kernel then restarts the call, or returns
 * EINTR if a signal with a handler has arrived meanwhile, as it would have without the stop. So no such signal is lost.
 * registers.h says how AArch64 does it.
 */
#include "stop.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* After this time, check whether the thread is in uninterruptible sleep (a vfork's parent, a dead NFS server). A thread
 * that only waits for a processor on a busy machine gets more time. */
#define STOP_NS (20 * 1000 * 1000ull)
#define STOP_MOST_NS (5 * 1000 * 1000 * 1000ull)
#define AT_ONCE 8 /* threads that are on their way to a stop */

size_t leaks_thread_count(const struct leaks_stop *stop) { return stop->count; }
const struct leaks_thread *leaks_thread_at(const struct leaks_stop *stop, size_t index) {
    return &stop->threads[index].shown;
}

int leaks_is_job_stopped(const struct leaks_stop *stop) {
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].is_job_stopped || stop->threads[i].signal == SIGSTOP) return 1;
    return 0;
}

void leaks_forget(struct leaks_stop *stop) {
    for (size_t i = 0; i < stop->count; i++) free(stop->threads[i].vectors);
    free(stop->threads);
    free(stop->injection.under);
    free(stop);
}

static struct tracee *add(struct leaks_stop *stop, pid_t tid) {
    if (stop->count == stop->capacity) {
        size_t capacity = stop->capacity == 0 ? 64 : stop->capacity * 2;
        struct tracee *grown = realloc(stop->threads, capacity * sizeof *grown);
        if (grown == NULL) return NULL;
        stop->threads = grown;
        stop->capacity = capacity;
    }
    struct tracee *thread = &stop->threads[stop->count++];
    memset(thread, 0, sizeof *thread);
    thread->shown.tid = tid;
    return thread;
}

static int by_tid(const void *a, const void *b) {
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

/* Seizes the threads that are not seized yet, and returns how many it seized. The list is sorted, because 4,000 threads
 * would otherwise take 16 million steps. */
static int seize_more(struct leaks_stop *stop, size_t *first) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)stop->pid);
    DIR *directory = opendir(path);
    if (directory == NULL) return -ESRCH;
    size_t known = stop->count;
    pid_t *sorted = malloc((known + 1) * sizeof *sorted);
    if (sorted == NULL) {
        closedir(directory);
        return -ENOMEM;
    }
    for (size_t i = 0; i < known; i++) sorted[i] = stop->threads[i].shown.tid;
    qsort(sorted, known, sizeof *sorted, by_tid);
    int result = 0;
    *first = known;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        pid_t tid = (pid_t)atoi(entry->d_name);
        if (tid <= 0 || bsearch(&tid, sorted, known, sizeof *sorted, by_tid) != NULL) continue;
        if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0) {
            if (errno == ESRCH) continue; /* it has ended meanwhile */
            int error = errno;
            /* A zombie thread can't be traced, and has nothing to read. */
            char state = leaks_state_of(stop->pid, tid);
            if (state == 0 || state == 'Z' || state == 'X') continue;
            /* It may be ours: one that was late at an earlier stop. Only its tracer can interrupt it. */
            if (error != EPERM || ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0) {
                result = -error;
                break;
            }
        }
        struct tracee *thread = add(stop, tid);
        if (thread == NULL) {
            ptrace(PTRACE_DETACH, tid, 0, 0);
            result = -ENOMEM;
            break;
        }
        thread->is_seized = true;
        result++;
    }
    free(sorted);
    closedir(directory);
    return result;
}

/* Reads a stopped thread's registers. */
static int read_registers(struct tracee *thread) {
    int result = registers_read(thread->shown.tid, &thread->saved);
    if (result < 0) return result;
    /* At once: from here on this tool may end by SIGKILL, and the interrupted call still goes on. */
    if (thread->is_trapped) {
        registers_check(thread->shown.tid, &thread->saved, &thread->before);
        registers_resume(thread->shown.tid, &thread->saved, &thread->before, false);
    } else if (thread->signal != 0) {
        registers_deliver(thread->shown.tid, thread->signal);
    }
    memcpy(thread->shown.registers, &thread->saved, sizeof thread->saved);
    thread->shown.stack_pointer = registers_stack(&thread->saved);
    thread->shown.thread_pointer = registers_thread_pointer(thread->shown.tid, &thread->saved);
    thread->shown.in_system_call = registers_is_in_call(thread->shown.tid, &thread->saved, &thread->before);
    /* A pointer may be only in a vector register: compilers move two pointers at once. */
    static _Thread_local uint8_t vectors[REGISTERS_VECTORS_MOST];
    ssize_t bytes = registers_read_vectors(thread->shown.tid, vectors, &thread->vector_kind);
    if (bytes > 0 && (thread->vectors = malloc((size_t)bytes)) != NULL) {
        memcpy(thread->vectors, vectors, (size_t)bytes);
        thread->shown.vectors = thread->vectors;
        thread->shown.vector_bytes = (size_t)bytes;
    }
    if (bytes > 0) registers_show_kept(&thread->shown, vectors, (size_t)bytes, thread->vector_kind);
    thread->shown.is_stopped = 1;
    return 0;
}

/* Records a thread's stop or end from its wait status. */
static int take_stop(struct tracee *thread, int status) {
    if (!WIFSTOPPED(status)) {
        thread->is_seized = false;
        return 0;
    }
    int event = status >> 16;
    thread->is_trapped = event == PTRACE_EVENT_STOP && WSTOPSIG(status) == SIGTRAP;
    thread->is_job_stopped = leaks_event_of(thread->shown.tid, status) == LEAKS_EVENT_GROUP_STOP;
    thread->signal = event == 0 ? WSTOPSIG(status) : 0;
    return read_registers(thread);
}

/* Takes a thread's stop if it has come. 1: it has; 0: not yet. */
static int try_stop(struct tracee *thread) {
    int status;
    pid_t found = waitpid(thread->shown.tid, &status, __WALL | WNOHANG);
    if (found < 0 && errno != EINTR) thread->is_seized = false;
    if (found <= 0) return !thread->is_seized;
    int result = take_stop(thread, status);
    if (result == -ESRCH) thread->is_seized = false; /* killed just now */
    return result < 0 && result != -ESRCH ? result : 1;
}

static bool is_awaited(const struct tracee *thread) {
    return thread->is_seized && !thread->shown.is_stopped && !thread->is_late;
}

/* Stops the threads from `first` on. Each stop is taken soon after it was asked for: if this tool is killed in between,
 * the thread's call returns EINTR. */
static int stop_from(struct leaks_stop *stop, size_t first) {
    size_t left = 0;
    for (size_t i = first; i < stop->count; i++) {
        if (!stop->threads[i].is_seized) continue;
        registers_look(stop->pid, stop->threads[i].shown.tid, &stop->threads[i].before);
        ptrace(PTRACE_INTERRUPT, stop->threads[i].shown.tid, 0, 0);
        left++;
        for (size_t j = i < first + AT_ONCE ? first : i - AT_ONCE; j <= i; j++) {
            if (!is_awaited(&stop->threads[j])) continue;
            int result = try_stop(&stop->threads[j]);
            if (result < 0) return result;
            left -= (size_t)result;
        }
    }
    const uint64_t began = leaks_now();
    for (unsigned turn = 0; left > 0; turn++) {
        const uint64_t waited = turn % 64 == 0 ? leaks_now() - began : 0;
        left = 0;
        for (size_t i = first; i < stop->count; i++) {
            struct tracee *thread = &stop->threads[i];
            if (!is_awaited(thread)) continue;
            int result = try_stop(thread);
            if (result < 0) return result;
            if (result > 0) continue;
            if (waited >= STOP_MOST_NS || (waited >= STOP_NS && leaks_state_of(stop->pid, thread->shown.tid) == 'D'))
                thread->is_late = true;
            else left++;
        }
        if (turn > 20) usleep(50);
        else sched_yield();
    }
    return 0;
}

static struct leaks_stop *new_stop(pid_t pid) {
    struct leaks_stop *stop = calloc(1, sizeof *stop);
    if (stop == NULL) return NULL;
    stop->pid = pid;
    stop->injected = SIZE_MAX;
    /* Only SIGKILL may end this tool while another program is stopped. */
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &stop->our_mask);
    return stop;
}

/* What a stop comes to: on failure all threads run on. */
static int settle(struct leaks_stop *stop, int result, struct leaks_stop **out) {
    if (result == 0) {
        size_t stopped = 0;
        for (size_t i = 0; i < stop->count; i++) stopped += stop->threads[i].shown.is_stopped != 0;
        if (stopped == 0) result = stop->count == 0 ? -ESRCH : -EAGAIN;
    }
    if (result < 0) leaks_go_on(stop);
    else *out = stop;
    return result;
}

int leaks_stop_all(pid_t pid, struct leaks_stop **out) {
    struct leaks_stop *stop = new_stop(pid);
    if (stop == NULL) return -ENOMEM;
    int result;
    for (;;) {
        /* Seized threads keep running: they may make new threads until all of them have stopped. */
        size_t first;
        result = seize_more(stop, &first);
        if (result <= 0) break;
        if (stop->began_ns == 0) stop->began_ns = leaks_now();
        result = stop_from(stop, first);
        if (result < 0) break;
    }
    return settle(stop, result, out);
}

int leaks_held(pid_t pid, const pid_t *tids, size_t count, struct leaks_stop **out) {
    struct leaks_stop *stop = calloc(1, sizeof *stop);
    if (stop == NULL) return -ENOMEM;
    stop->pid = pid;
    stop->injected = SIZE_MAX;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        struct tracee *thread = add(stop, tids[i]);
        if (thread == NULL) result = -ENOMEM;
        else if (read_registers(thread) == -ENOEXEC) result = -ENOEXEC;
    }
    if (result < 0) leaks_forget(stop);
    else *out = stop;
    return result;
}

/* Resumes one thread: with the signal at whose delivery it stopped, or back into the interrupted call. `turn` is for
 * all threads of the process. */
static void release(struct tracee *thread, struct leaks_turn *turn) {
    const uint64_t takes = leaks_turn_begin(turn, thread->shown.tid, &thread->before);
    if (thread->is_trapped) {
        const struct user_regs_struct *saved = &thread->saved;
        registers_resume(thread->shown.tid, saved, &thread->before, thread->is_used);
        if (registers_need_entry(saved, &thread->before, thread->is_used))
            thread->signal = registers_enter(thread->shown.tid);
    } else if (thread->signal != 0) {
        registers_deliver(thread->shown.tid, thread->signal);
    }
    if (thread->is_to_stop) syscall(SYS_tkill, thread->shown.tid, SIGSTOP);
    ptrace(PTRACE_DETACH, thread->shown.tid, 0, (long)thread->signal);
    leaks_turn_end(turn, takes);
}

uint64_t leaks_go_on(struct leaks_stop *stop) {
    /* After a failure some are seized and were never interrupted. Only a thread that stops can be let go. */
    for (size_t i = 0; i < stop->count; i++) {
        struct tracee *thread = &stop->threads[i];
        if (!is_awaited(thread)) continue;
        registers_look(stop->pid, thread->shown.tid, &thread->before);
        ptrace(PTRACE_INTERRUPT, thread->shown.tid, 0, 0);
    }
    struct leaks_turn turn = leaks_turns(stop->pid);
    for (size_t i = 0; i < stop->count; i++) {
        struct tracee *thread = &stop->threads[i];
        if (thread->is_seized && thread->shown.is_stopped) release(thread, &turn);
    }
    const uint64_t pause = stop->began_ns == 0 ? 0 : leaks_now() - stop->began_ns;
    /* A thread that did not stop can't be detached until it stops, and would then stay stopped: wait for it a while.
     * If that is not enough, the kernel releases it when the thread of this tool that traces it ends. */
    uint64_t began = leaks_now();
    for (size_t i = 0; i < stop->count; i++) {
        struct tracee *thread = &stop->threads[i];
        while (thread->is_seized && !thread->shown.is_stopped) {
            int status;
            pid_t found = waitpid(thread->shown.tid, &status, __WALL | WNOHANG);
            if (found < 0 && errno != EINTR) break;
            if (found > 0) {
                take_stop(thread, status);
                if (thread->is_seized) release(thread, &turn);
                break;
            }
            if (leaks_now() - began > STOP_MOST_NS) break;
            usleep(100);
        }
    }
    sigprocmask(SIG_SETMASK, &stop->our_mask, 0);
    leaks_forget(stop);
    return pause;
}
