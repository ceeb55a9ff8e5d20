import Glibc

/// The signals that end a waiting heaprun early: SIGINT, SIGTERM and SIGHUP. They are blocked from the start, so that
/// one arrives only where heaprun waits for it.
struct EndSignals {
    private var signals = sigset_t(), before = sigset_t()

    init() {
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, number) }
        sigprocmask(SIG_BLOCK, &signals, &before)
    }

    /// Waits at most this long, under a second; true if a signal arrived.
    func arrive(within nanoseconds: UInt64) -> Bool {
        var signals = signals, timeout = timespec(tv_sec: 0, tv_nsec: Int(min(nanoseconds, 999_999_999)))
        return sigtimedwait(&signals, nil, &timeout) > 0
    }

    func unblock() {
        var before = before
        sigprocmask(SIG_SETMASK, &before, nil)
    }
}
