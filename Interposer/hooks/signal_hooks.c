/*
 * The functions that set a signal's action. glibc's signal(), sigset() and the like reach the kernel without calling
 * sigaction() by name, so each is interposed. For any signal but the dump signal they only call the next function.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/next.h"
#include "base/options.h"
#include "base/system.h"
#include "process/signals.h"
#include "process/start.h"
#include "threads/hook.h"

/* The result if there is no next function, or if it is too early to find it. */
static int not_known(void) {
    if (next_known()) errno = ENOSYS;
    return -1;
}

static bool is_dump_signal(int signal) { return start_next() && signal != 0 && signal == signals_number; }

/* All hooks call this, and none calls sigaction by name: that could be the program's own. */
static int act(int signal, const struct sigaction *action, struct sigaction *before) {
    return is_dump_signal(signal) ? signals_act(signal, action, before)
        : next.sigaction != NULL  ? next.sigaction(signal, action, before)
                                  : not_known();
}

HOOK int hook_sigaction(int signal, const struct sigaction *action, struct sigaction *before) {
    return act(signal, action, before);
}
HOOK int hook___sigaction(int signal, const struct sigaction *action, struct sigaction *before) {
    return act(signal, action, before);
}

/* What signal() and the like do, by sigaction with these flags. */
static sighandler_t set_handler(int signal, sighandler_t handler, int flags, bool masked) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, before;
    if (handler == SIG_ERR) {
        errno = EINVAL;
        return SIG_ERR;
    }
    if (masked) memcpy(&action.sa_mask, &(system_signals){system_signals_of(signal)}, sizeof(system_signals));
    return signals_act(signal, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

/* signal(7): BSD semantics, the signal blocked in its handler and system calls restarted. */
static sighandler_t set_bsd(int number, sighandler_t handler) {
    return is_dump_signal(number) ? set_handler(number, handler, SA_RESTART, true)
        : next.signal != NULL     ? next.signal(number, handler)
                                  : (not_known(), SIG_ERR);
}
HOOK sighandler_t hook_signal(int number, sighandler_t handler) { return set_bsd(number, handler); }
HOOK sighandler_t hook_bsd_signal(int number, sighandler_t handler) { return set_bsd(number, handler); }
HOOK sighandler_t hook_ssignal(int number, sighandler_t handler) { return set_bsd(number, handler); }

/* sysv_signal(3): once, not blocked, not restarted. */
static sighandler_t set_sysv(int number, sighandler_t handler) {
    return is_dump_signal(number)  ? set_handler(number, handler, (int)(SA_RESETHAND | SA_NODEFER), false)
        : next.sysv_signal != NULL ? next.sysv_signal(number, handler)
                                   : (not_known(), SIG_ERR);
}
HOOK sighandler_t hook_sysv_signal(int number, sighandler_t handler) { return set_sysv(number, handler); }
HOOK sighandler_t hook___sysv_signal(int number, sighandler_t handler) { return set_sysv(number, handler); }

/* sigset(3): SIG_HOLD blocks; any other disposition unblocks. Returns SIG_HOLD if the signal was blocked. */
HOOK sighandler_t hook_sigset(int number, sighandler_t handler) {
    if (!is_dump_signal(number)) return next.sigset != NULL ? next.sigset(number, handler) : (not_known(), SIG_ERR);
    const system_signals set = system_signals_of(number);
    system_signals before;
    struct sigaction old;
    if (handler == SIG_HOLD) {
        if (system_mask(SIG_BLOCK, set, &before) != 0 || signals_act(number, NULL, &old) != 0) return SIG_ERR;
        return before & set ? SIG_HOLD : old.sa_handler;
    }
    sighandler_t result = set_handler(number, handler, 0, false);
    if (result == SIG_ERR || system_mask(SIG_UNBLOCK, set, &before) != 0) return SIG_ERR;
    return before & set ? SIG_HOLD : result;
}

HOOK int hook_sigignore(int number) {
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (!is_dump_signal(number)) return next.sigignore != NULL ? next.sigignore(number) : not_known();
    return signals_act(number, &ignore, NULL);
}

/* siginterrupt(3): whether system calls that the signal interrupts are restarted. libc keeps a note of that for later
 * calls of signal(). */
HOOK int hook_siginterrupt(int number, int interrupts) {
    if (!start_next() || next.siginterrupt == NULL) return not_known();
    int result = next.siginterrupt(number, interrupts);
    struct sigaction action;
    if (result != 0 || !is_dump_signal(number) || signals_act(number, NULL, &action) != 0) return result;
    action.sa_flags = interrupts ? action.sa_flags & ~SA_RESTART : action.sa_flags | SA_RESTART;
    return action.sa_handler == SIG_DFL && !(action.sa_flags & SA_SIGINFO) ? result
                                                                           : signals_act(number, &action, NULL);
}
