/*
 * heaprun listens on a socket in its private directory, beside the running image. A connection is a request: the kernel
 * tells heaprun which process connected. The answer comes when the dump is complete. If heaprun ends, the kernel closes
 * the connection, so the program never waits for a heaprun that has ended.
 */
#include "process/request.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/atomics.h"
#include "base/options.h"
#include "base/system.h"

#define SOCKET_NAME "/leaks"
#define SIGNAL_OF_CANCELLATION 32 /* as in dump.c */

static int no_verdict(const char *why) {
    static uint32_t said; /* say it once: a program may ask in a loop */
    if (!swap_relaxed(&said, 1)) message("heapsum_leaks: no verdict: ", why);
    return -1;
}

static int ask(const struct sockaddr_un *at) {
    int fd = system_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC);
    if (fd < 0) return no_verdict("no socket could be made");
    long result;
    do result = SYSTEM_CALL3(SYS_connect, fd, at, sizeof *at);
    while (result == -EINTR);
    int32_t answer = -1;
    if (result == 0) {
        do result = system_read(fd, &answer, sizeof answer);
        while (result == -EINTR);
    }
    system_close(fd);
    if (result != sizeof answer) return no_verdict("heaprun, which would make it, is not there");
    return answer;
}

int request_leaks(void) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t length = strlen(options.run_dir);
    if (length == 0) return no_verdict("this program was not started by heaprun, which would make it");
    if (length + sizeof SOCKET_NAME > sizeof at.sun_path)
        return no_verdict("the path of heaprun's directory is too long for a socket");
    if (!system_may_write()) return no_verdict("the program's seccomp filter forbids to ask for it");
    memcpy(at.sun_path, options.run_dir, length);
    memcpy(at.sun_path + length, SOCKET_NAME, sizeof SOCKET_NAME);
    /* A thread that was cancelled in here would leave a descriptor open. */
    system_signals before;
    bool masked = system_mask(SIG_BLOCK, system_signals_of(SIGNAL_OF_CANCELLATION), &before) == 0;
    int answer = ask(&at);
    if (masked) system_mask(SIG_SETMASK, before, NULL);
    return answer;
}
