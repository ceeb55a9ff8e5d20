/*
 * ptrace reports exit, _exit and fatal signals while the memory still exists, but an exec only after the memory is
 * gone. So the hook of exec sends its own thread a signal with a value that the tracer knows. The tracer removes the
 * signal: the program never gets it. It is SIGURG, which is ignored by default, in case the tracer ends at this moment.
 */
#include "process/leaving.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/options.h"
#include "base/system.h"
#include "image/image.h"
#include "process/start.h"
#include "threads/hook.h"

/* Whether this thread is traced, and no seccomp filter could kill it for the next system calls. */
static bool is_told(void) {
    char text[4096];
    if (!system_may_look()) return false;
    int file = system_open_own("status");
    if (file < 0) return false;
    long count = system_read(file, text, sizeof text - 1);
    system_close(file);
    if (count <= 0) return false;
    text[count] = 0;
    const char *tracer = strstr(text, "\nTracerPid:\t"), *filter = strstr(text, "\nSeccomp:\t");
    return tracer != NULL && tracer[sizeof "\nTracerPid:\t" - 1] != '0' && filter != NULL
        && filter[sizeof "\nSeccomp:\t" - 1] == '0';
}

void leaving_by_exec(void) {
    if (!options.tells_end || !hook_is_live() || image.header->pid != system_process()) return;
    int saved = errno;
    if (is_told()) {
        siginfo_t notice;
        memset(&notice, 0, sizeof notice);
        notice.si_signo = SIGURG;
        notice.si_code = SI_QUEUE;
        notice.si_value.sival_ptr = (void *)HEAP_LEAVING_NOTICE;
        system_signals before;
        system_mask(SIG_UNBLOCK, system_signals_of(SIGURG), &before);
        SYSTEM_CALL4(SYS_rt_tgsigqueueinfo, system_process(), system_thread(), SIGURG, &notice);
        system_mask(SIG_SETMASK, before, NULL);
    }
    errno = saved;
}
