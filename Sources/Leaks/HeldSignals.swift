import Glibc

/// The signals that end a tool, blocked while a clone of the program exists: a clone that dies with its tracer stays in
/// the program as a zombie. One that arrives meanwhile takes effect at the end. (SIGKILL can't be held back.)
final class HeldSignals {
    private var before = sigset_t()

    init() {
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE] { sigaddset(&signals, number) }
        sigprocmask(SIG_BLOCK, &signals, &before)
    }

    deinit { sigprocmask(SIG_SETMASK, &before, nil) }
}
