// The one table of signals' names, as people type and read them, with the numbers of this machine's C library. Code in
// other processes gets numbers.

import Glibc

package let firstRealtimeSignal = __libc_current_sigrtmin()
package let lastRealtimeSignal = __libc_current_sigrtmax()

/// A signal's name without SIG (`USR2`, `RTMIN+3`), or its number if it has no name.
package func signalName(_ number: Int32) -> String {
    if let name = signalNames.first(where: { $0.number == number })?.name { return name }
    return number >= firstRealtimeSignal && number <= lastRealtimeSignal
        ? "RTMIN+\(number - firstRealtimeSignal)" : String(number)
}

/// All signals with a name, except the realtime ones.
package let signalNames: [(name: String, number: Int32)] = [
    ("HUP", SIGHUP), ("INT", SIGINT), ("QUIT", SIGQUIT), ("ILL", SIGILL), ("TRAP", SIGTRAP), ("ABRT", SIGABRT),
    ("BUS", SIGBUS),
    ("FPE", SIGFPE), ("KILL", SIGKILL), ("USR1", SIGUSR1), ("SEGV", SIGSEGV), ("USR2", SIGUSR2), ("PIPE", SIGPIPE),
    ("ALRM", SIGALRM), ("TERM", SIGTERM), ("CHLD", SIGCHLD), ("CONT", SIGCONT), ("STOP", SIGSTOP), ("TSTP", SIGTSTP),
    ("TTIN", SIGTTIN), ("TTOU", SIGTTOU), ("URG", SIGURG), ("XCPU", SIGXCPU), ("XFSZ", SIGXFSZ), ("VTALRM", SIGVTALRM),
    ("PROF", SIGPROF), ("WINCH", SIGWINCH), ("IO", SIGIO), ("PWR", SIGPWR), ("SYS", SIGSYS), ("STKFLT", 16),
]

/// Alternative names.
private let otherNames: [(name: String, number: Int32)] = [("POLL", SIGIO), ("CLD", SIGCHLD), ("IOT", SIGABRT)]

/// A signal's number by name (`USR2`, `SIGUSR2`, any case), number, `RTMIN+n` or `RTMAX-n`; nil if it is no signal.
package func signalNumber(named text: String) -> Int32? {
    // Only ASCII letters: the upper case of others may spell a signal's name.
    guard text.utf8.allSatisfy({ $0 < 0x80 }) else { return nil }
    var name = text.uppercased()
    if name.hasPrefix("SIG") { name.removeFirst(3) }
    func count(_ digits: Substring) -> Int32? {
        digits.utf8.allSatisfy { (0x30 ... 0x39).contains($0) } ? Int32(digits) : nil
    }
    var number = (signalNames + otherNames).first { $0.name == name }?.number ?? count(name[...])
    if name == "RTMIN" { number = firstRealtimeSignal }
    if name == "RTMAX" { number = lastRealtimeSignal }
    let span = 0 ... lastRealtimeSignal - firstRealtimeSignal
    if name.hasPrefix("RTMIN+") {
        number = count(name.dropFirst(6)).flatMap { span.contains($0) ? firstRealtimeSignal + $0 : nil }
    }
    if name.hasPrefix("RTMAX-") {
        number = count(name.dropFirst(6)).flatMap { span.contains($0) ? lastRealtimeSignal - $0 : nil }
    }
    // The C library reserves the signals in between.
    guard let number, (1 ... lastRealtimeSignal).contains(number), !(32 ..< firstRealtimeSignal).contains(number) else {
        return nil
    }
    return number
}

/// A signal by number and name, for reports: 9 (SIGKILL); 33 if it has no name.
package func signalText(_ number: Int32) -> String {
    let name = signalName(number)
    return name.first?.isLetter == true ? "\(number) (SIG\(name))" : "\(number)"
}
