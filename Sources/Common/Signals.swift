// Signals' names, as people type and read them: without SIG, and by the numbers of this machine's C library.

import Glibc

package let firstRealtimeSignal = __libc_current_sigrtmin()
package let lastRealtimeSignal = __libc_current_sigrtmax()

/// A signal's name without SIG (`USR2`, `RTMIN+3`), or its number where it has none.
package func signalName(_ number: Int32) -> String {
    if let name = signalNames.first(where: { $0.number == number })?.name { return name }
    return number >= firstRealtimeSignal && number <= lastRealtimeSignal ? "RTMIN+\(number - firstRealtimeSignal)" : String(number)
}

/// All that have a name of their own, the realtime ones aside.
package let signalNames: [(name: String, number: Int32)] = [
    ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP), ("ABRT", SIGABRT), ("BUS", SIGBUS),
    ("FPE", SIGFPE), ("KILL", SIGKILL), ("USR1", SIGUSR1), ("SEGV", SIGSEGV), ("USR2", SIGUSR2), ("PIPE", SIGPIPE),
    ("ALRM", SIGALRM), ("TERM", SIGTERM), ("CHLD", SIGCHLD), ("CONT", SIGCONT), ("STOP", SIGSTOP), ("TSTP", SIGTSTP),
    ("TTIN", SIGTTIN), ("TTOU", SIGTTOU), ("URG", SIGURG), ("XCPU", SIGXCPU), ("XFSZ", SIGXFSZ), ("VTALRM", SIGVTALRM),
    ("PROF", SIGPROF), ("WINCH", SIGWINCH), ("IO", SIGIO), ("PWR", SIGPWR), ("SYS", SIGSYS),
]
