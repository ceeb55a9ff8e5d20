import Glibc

/// The signals that ask heaprun to end, taken instead of followed while this value is in force: they are blocked, so
/// that one arrives only where heaprun looks for it. Those that heaprun was started to ignore or to hold back are left
/// alone.
package struct EndSignals {
    private let taken: sigset_t
    private let before: sigset_t

    /// What heaprun was started to hold back: read before the first value blocks anything, so that a value within
    /// another one takes the same signals.
    private static let heldBack: sigset_t = {
        var mask = sigset_t()
        sigprocmask(SIG_BLOCK, nil, &mask)
        return mask
    }()

    package init(_ numbers: [Int32] = [SIGINT, SIGTERM, SIGHUP]) {
        var heldBack = Self.heldBack, before = sigset_t(), taken = sigset_t()
        sigemptyset(&taken)
        for number in numbers where sigismember(&heldBack, number) == 0 {
            var action = sigaction()
            sigaction(number, nil, &action)
            // SIG_IGN is 1.
            if unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) != 1 { sigaddset(&taken, number) }
        }
        sigprocmask(SIG_BLOCK, &taken, &before)
        (self.taken, self.before) = (taken, before)
    }

    /// Waits for a signal at most this long, under a second.
    ///
    /// - Returns: its number; nil: none has come.
    package func next(within nanoseconds: UInt64 = 0) -> Int32? {
        var signals = taken, timeout = timespec(tv_sec: 0, tv_nsec: Int(min(nanoseconds, 999_999_999)))
        let number = sigtimedwait(&signals, nil, &timeout)
        return number > 0 ? number : nil
    }

    /// Follows the signals again, also those that have come meanwhile and were not looked for.
    package func restore() {
        var mask = before
        sigprocmask(SIG_SETMASK, &mask, nil)
    }

    /// Forgets those that have come meanwhile, and follows those to come.
    package func forget() {
        while next() != nil {}
        restore()
    }
}
