/* Which system calls begin again after an interruption that the program must not notice. */
#ifndef HEAPSUM_LEAKS_RESTARTABLE_H
#define HEAPSUM_LEAKS_RESTARTABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define IO_PGETEVENTS 333
#else
#define IO_PGETEVENTS 292
#endif

/* Whether a call returns EINTR on any interruption, and can safely be made again. close is not one of them: it has
 * released the descriptor by then. */
static inline bool is_restartable(int64_t number) {
    switch (number) {
        case SYS_read:
        case SYS_readv:
        case SYS_write:
        case SYS_writev:
        case SYS_accept:
        case SYS_accept4:
        case SYS_recvfrom:
        case SYS_recvmsg:
        case SYS_recvmmsg:
        case SYS_sendto:
        case SYS_sendmsg:
        case SYS_semop:
        case SYS_semtimedop:
        case SYS_rt_sigtimedwait:
        case SYS_io_getevents:
        case IO_PGETEVENTS:
#if defined(SYS_epoll_wait)
        case SYS_epoll_wait:
#endif
        case SYS_epoll_pwait:
        case 441 /* epoll_pwait2 */:
        case 426 /* io_uring_enter */: return true;
        default: return false;
    }
}

#endif
