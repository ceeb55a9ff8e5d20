/*
 * Traces a program from its start to its end, so that its memory can be read at the end. The kernel stops each ending
 * thread before it frees the memory (PTRACE_EVENT_EXIT), whether by exit_group or by a fatal signal.
 *
 * It uses PTRACE_SEIZE: an exec raises no SIGTRAP, and job control's stops work as usual. It does not use EXITKILL: the
 * program outlives its tracer.
 */
#include "stop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define LEAVING_NOTICE 0x0A676E697661656Cull /* HEAP_LEAVING_NOTICE of heap_image.h */

enum leaks_event leaks_event_of(pid_t tid, int status) {
    if (!WIFSTOPPED(status)) return LEAKS_EVENT_NONE;
    switch (status >> 16) {
        case 0: break;
        case PTRACE_EVENT_STOP: return WSTOPSIG(status) == SIGTRAP ? LEAKS_EVENT_INTERRUPTED : LEAKS_EVENT_GROUP_STOP;
        case PTRACE_EVENT_EXIT: return LEAKS_EVENT_EXIT;
        default: return LEAKS_EVENT_CHILD;
    }
    siginfo_t info;
    if (WSTOPSIG(status) == SIGURG && ptrace(PTRACE_GETSIGINFO, tid, 0, &info) == 0 && info.si_code == SI_QUEUE
        && (uint64_t)(uintptr_t)info.si_value.sival_ptr == LEAVING_NOTICE)
        return LEAKS_EVENT_LEAVING;
    return LEAKS_EVENT_SIGNAL;
}

unsigned long leaks_trace_options(int follow) {
    unsigned long options = PTRACE_O_TRACEEXIT | PTRACE_O_TRACECLONE;
    return follow ? options | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK : options;
}

int leaks_continue(pid_t tid, int signal) {
    if (signal != 0) registers_deliver(tid, signal);
    return ptrace(PTRACE_CONT, tid, 0, (long)signal) == 0 ? 0 : -errno;
}

int leaks_listen(pid_t tid) { return ptrace(PTRACE_LISTEN, tid, 0, 0) == 0 ? 0 : -errno; }

struct leaks_interruption {
    struct registers_before before;
    struct user_regs_struct saved;
    bool is_read;
};

struct leaks_interruption *leaks_interrupt(pid_t pid, pid_t tid) {
    struct leaks_interruption *interruption = calloc(1, sizeof *interruption);
    if (interruption != NULL) registers_look(pid, tid, &interruption->before);
    ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    return interruption;
}

void leaks_interrupted(pid_t tid, struct leaks_interruption *interruption) {
    if (interruption == NULL || registers_read(tid, &interruption->saved) != 0) return;
    interruption->is_read = true;
    registers_check(tid, &interruption->saved, &interruption->before);
    registers_resume(tid, &interruption->saved, &interruption->before, false);
}

void leaks_forget_interruption(struct leaks_interruption *interruption) { free(interruption); }

struct leaks_turn leaks_turns(pid_t pid) {
    return (struct leaks_turn){pid, registers_shared(pid), 0};
}

uint64_t leaks_turn_begin(const struct leaks_turn *turn, pid_t tid, struct registers_before *before) {
    before->others = turn->others;
    return turn->shared != 0 ? registers_takes(tid, turn->others) : 0;
}

void leaks_turn_end(struct leaks_turn *turn, uint64_t takes) {
    if (takes != 0) turn->others |= registers_await(turn->pid, takes);
}

int leaks_continue_interrupted(pid_t tid, struct leaks_interruption *interruption, struct leaks_turn *turn) {
    struct leaks_interruption unknown = {.is_read = false}, *known = interruption != NULL ? interruption : &unknown;
    const uint64_t takes = turn != NULL ? leaks_turn_begin(turn, tid, &known->before) : 0;
    if (!known->is_read) leaks_interrupted(tid, known);
    else registers_resume(tid, &known->saved, &known->before, false);
    free(interruption);
    int result = leaks_continue(tid, 0);
    if (turn != NULL) leaks_turn_end(turn, takes);
    return result;
}

int leaks_poll(pid_t tid, int *status) {
    pid_t found = waitpid(tid, status, __WALL | WNOHANG);
    if (found < 0) return errno == EINTR ? 0 : -errno;
    if (found == 0) return 0;
    return WIFSTOPPED(*status) ? 1 : -ESRCH;
}

long leaks_system_call_of(pid_t tid) { return (long)registers_ending_call(tid); }
