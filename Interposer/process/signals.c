/*
 * The dump signal. By default we use it only while the program doesn't: a program that sets a handler or ignores the
 * signal keeps it entirely. If the user chose the signal, our handler stays in the kernel's table and calls the
 * program's. The program's action is kept here, and shown to the program as if it were in the table.
 *
 * hooks/signal_hooks.c has the functions that a program calls for that.
 */
#include "process/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/atomics.h"
#include "base/machine.h"
#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "image/image.h"
#include "process/dump.h"
#include "process/start.h"
#include "threads/hook.h"

int signals_number;
void (*signals_unrecorded)(void);
static bool is_chosen; /* by the user: our handler runs first, then the program's */
static uint32_t ours;  /* our handler is in the kernel's table */
/* The action for the dump signal that the program believes to be set. There are two, so that a handler reads a whole
 * one while the other is being written. */
static struct sigaction actions[2];
static uint32_t which;

static struct sigaction program_action(void) { return actions[load_acquire(&which)]; } /* partner: the release below */

static void set_program_action(const struct sigaction *action) {
    uint32_t other = 1 - load_relaxed(&which);
    actions[other] = *action;
    store_release(&which, other);
}

/* SA_RESETHAND: the handler is reset, flags and mask stay. */
static void reset(const struct sigaction *program) {
    struct sigaction fresh = *program;
    fresh.sa_flags &= ~SA_SIGINFO; /* the kernel keeps the flag; here it says which kind of handler this is */
    fresh.sa_handler = SIG_DFL;
    set_program_action(&fresh);
}

/* Does what the kernel would do by default. */
static void act_by_default(int signal) {
    struct sigaction mine, standard = {.sa_handler = SIG_DFL};
    system_signals before;
    if (next.libc_sigaction(signal, &standard, &mine) != 0) return;
    system_signal_thread(system_process(), thread_id(), signal);
    /* here the process ends or stops, or nothing happens if the default is to ignore */
    system_mask(SIG_UNBLOCK, system_signals_of(signal), &before);
    system_mask(SIG_SETMASK, before, NULL);
    next.libc_sigaction(signal, &mine, NULL);
}

static void on_signal(int signal, siginfo_t *info, void *context) {
    int saved = errno;
    bool sent = info->si_code == SI_USER || info->si_code == SI_QUEUE || info->si_code == SI_TKILL;
    bool from_outside = sent && info->si_pid != (pid_t)system_process();
    struct sigaction program = program_action();
    /* A vfork'd child shares the memory, but the image is its parent's. */
    bool recorded = hook_is_live() && image.header->pid == system_process();
    if (from_outside && recorded) dump_write();
    else if (from_outside && signals_unrecorded != NULL) signals_unrecorded();
    errno = saved;
    if (program.sa_flags & SA_SIGINFO) {
        if (program.sa_flags & (int)SA_RESETHAND) reset(&program);
        program.sa_sigaction(signal, info, context);
    } else if (program.sa_handler != SIG_DFL && program.sa_handler != SIG_IGN) {
        if (program.sa_flags & (int)SA_RESETHAND) reset(&program);
        program.sa_handler(signal);
    } else if (program.sa_handler == SIG_DFL && !from_outside) {
        act_by_default(signal);
    }
    errno = saved;
}

/* Puts our handler into the kernel's table, with the mask and flags of the program's action. */
static int install(void) {
    struct sigaction program = program_action();
    struct sigaction action = {.sa_sigaction = on_signal, .sa_mask = program.sa_mask};
    bool handled = (program.sa_flags & SA_SIGINFO) || (program.sa_handler != SIG_DFL && program.sa_handler != SIG_IGN);
    /* on_signal implements SA_RESETHAND. Without a handler of the program's, a thread may have a small stack: hence
     * SA_ONSTACK. */
    action.sa_flags = SA_SIGINFO | (handled ? program.sa_flags & (int)~SA_RESETHAND : SA_RESTART | SA_ONSTACK);
    return next.libc_sigaction(signals_number, &action, NULL);
}

static void note(void) {
    if (image.header == NULL) return;
    if (load_relaxed(&ours))
        __atomic_fetch_and(&image.header->flags, ~(uint32_t)HEAP_FLAG_SIGNAL_OF_PROGRAM, __ATOMIC_RELAXED);
    else or_relaxed(&image.header->flags, HEAP_FLAG_SIGNAL_OF_PROGRAM);
}

void signals_start(void) {
    static bool looked; /* a fork's child inherits the result */
    if (options.signal == 0 || next.libc_sigaction == NULL) return;
    if (!looked) {
        struct sigaction before;
        looked = true;
        signals_number = options.signal;
        is_chosen = options.signal_chosen;
        if (next.libc_sigaction(signals_number, NULL, &before) == 0 && (is_chosen || before.sa_handler == SIG_DFL)) {
            set_program_action(&before);
            if (install() == 0) store_relaxed(&ours, 1);
        }
    }
    note();
}

void signals_keep(void) {
    options.signal = signals_number;
    options.signal_chosen = is_chosen;
}

static bool is_default(const struct sigaction *action) {
    return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

/* Makes an action what sigaction reads back: SIGKILL and SIGSTOP can't be blocked, and libc adds its restorer. */
static void as_kernel_keeps(struct sigaction *action) {
    system_signals mask;
    memcpy(&mask, &action->sa_mask, sizeof mask);
    mask &= ~(system_signals_of(SIGKILL) | system_signals_of(SIGSTOP));
    memcpy(&action->sa_mask, &mask, sizeof mask);
    action->sa_flags |= MACHINE_SA_RESTORER;
}

/* In a vfork's child: the memory, and with it the state kept here, is the parent's; the kernel's table is the child's.
 */
static int act_in_shared_memory(int signal, const struct sigaction *action, struct sigaction *before) {
    int result = next.sigaction(signal, action, before);
    if (result == 0 && before != NULL && before->sa_flags & SA_SIGINFO && before->sa_sigaction == on_signal)
        *before = program_action();
    return result;
}

int signals_act(int signal, const struct sigaction *action, struct sigaction *before) {
    if (hook_memory_is_borrowed()) return act_in_shared_memory(signal, action, before);
    if (!load_relaxed(&ours)) {
        int result = next.sigaction(signal, action, before);
        /* A program that resets the signal gives it back to us: the default action would end the process. */
        if (result == 0 && action != NULL && is_default(action) && (hook_is_live() || signals_unrecorded != NULL)) {
            set_program_action(action);
            if (install() == 0) store_relaxed(&ours, 1);
            note();
        }
        return result;
    }
    struct sigaction old = program_action();
    if (action != NULL) {
        struct sigaction fresh = *action; /* `action` and `before` may be the same memory */
        if (is_chosen || is_default(&fresh)) {
            as_kernel_keeps(&fresh);
            set_program_action(&fresh);
            if (install() != 0) return -1;
        } else {
            if (next.sigaction(signal, &fresh, NULL) != 0) return -1;
            store_relaxed(&ours, 0);
            note();
        }
    }
    if (before != NULL) *before = old;
    return 0;
}

bool signals_hand_on(void) {
    if (!load_relaxed(&ours)) return false;
    struct sigaction program = program_action();
    return !(program.sa_flags & SA_SIGINFO) && program.sa_handler == SIG_IGN
        && next.libc_sigaction(signals_number, &program, NULL) == 0;
}

void signals_take_back(bool handed_on) {
    if (handed_on) install();
}
