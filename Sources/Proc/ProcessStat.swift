// /proc/PID/stat and /proc/PID/status, of a process or of one thread.

import Glibc
import SystemPackage

/// The parts of /proc/PID/stat that tell a process from a later one with the same PID, and say whether it runs.
package struct ProcessStat: Equatable, Sendable {
    /// The first 15 bytes of the program's name, which may hold anything.
    package var name: [UInt8]
    /// The main thread's state: `R`, `S`, `T`, `Z` …
    package var state: UInt8
    /// The number of threads. It includes the main thread until the last one has ended.
    package var threads: UInt64
    /// Clock ticks since boot (field 22).
    package var startTime: UInt64

    /// Whether this thread is alive. A zombie has given back its memory.
    package var isAlive: Bool { state != UInt8(ascii: "Z") && state != UInt8(ascii: "X") }

    /// nil if the kernel can't have written the text.
    package init?(parsing text: [UInt8]) {
        guard let (name, fields) = statFields(text), fields.count > 19, let state = fields[0].first,
            let threads = decimal(fields[17]), let start = decimal(fields[19])
        else { return nil }
        self.name = Array(name)
        (self.state, self.threads, startTime) = (state, threads, start)
    }

    /// The stat of a process; nil if it has ended.
    package static func of(_ pid: pid_t) -> ProcessStat? { read(FilePath("/proc/\(pid)/stat")) }

    /// The stat of one thread of a process.
    package static func of(thread: pid_t, of pid: pid_t) -> ProcessStat? {
        read(FilePath("/proc/\(pid)/task/\(thread)/stat"))
    }

    private static func read(_ path: FilePath) -> ProcessStat? {
        (try? readBytes(path, limit: 4096)).flatMap { ProcessStat(parsing: $0) }
    }
}

/// Splits the text of /proc/PID/stat into the name and the fields after it, of which the first is field 3 of proc(5).
/// Returns nil if it has no name.
package func statFields(_ text: [UInt8]) -> (name: ArraySlice<UInt8>, fields: [ArraySlice<UInt8>])? {
    // Field 2 is the name in parentheses. It may hold spaces and parentheses, so the last one ends it.
    guard let open = text.firstIndex(of: UInt8(ascii: "(")), let close = text.lastIndex(of: UInt8(ascii: ")")),
        open < close
    else { return nil }
    let rest = text[(close + 1)...].dropFirst().prefix { $0 != UInt8(ascii: "\n") }
    return (text[(open + 1) ..< close], rest.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false))
}

/// The words of a line of /proc/PID/status after its name (`Uid:`, `NSpid:`); nil if there is no such line.
package func statusWords(_ name: StaticString, of pid: pid_t) -> [[UInt8]]? {
    (try? readBytes(FilePath("/proc/\(pid)/status"), limit: 16_384)).flatMap { statusWords(name, in: $0) }
}

/// The words of such a line in the file's text.
package func statusWords(_ name: StaticString, in text: [UInt8]) -> [[UInt8]]? {
    let line = text.split(separator: UInt8(ascii: "\n")).first { line in name.withUTF8Buffer { line.starts(with: $0) } }
    return line?.split(whereSeparator: { $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: " ") }).dropFirst().map(
        Array.init)
}

/// A process's PID in its innermost namespace, which is the PID that the process sees.
package func innermostPID(of pid: pid_t) -> UInt32? {
    statusWords("NSpid:", of: pid)?.last.flatMap { decimal($0[...]) }.flatMap { UInt32(exactly: $0) }
}

private func number(_ name: StaticString, of pid: pid_t) -> pid_t? {
    statusWords(name, of: pid)?.first.flatMap { decimal($0[...]) }.flatMap { pid_t(exactly: $0) }
}

/// The process of the thread with this number, if the thread is not its first: then the number is no PID, though /proc
/// has a directory of that name. Nil for a process, and where there is neither.
package func process(ofThread thread: pid_t) -> pid_t? {
    number("Tgid:", of: thread).flatMap { $0 == thread ? nil : $0 }
}

/// The process that traces a thread of this one; nil if none does.
///
/// - Complexity: reads one file for each thread.
package func tracer(of processID: pid_t) -> pid_t? {
    let threads = ((try? namesInDirectory(FilePath("/proc/\(processID)/task"))) ?? []).compactMap { pid_t($0.text) }
    return threads.lazy.compactMap { number("TracerPid:", of: $0) }.first { $0 != 0 }
}

/// The PIDs that /proc lists.
package func processes() -> [pid_t] {
    ((try? namesInDirectory("/proc")) ?? []).compactMap { pid_t($0.text) }
}

/// A decimal number of digits only; nil if 64 bits don't hold it.
func decimal(_ digits: ArraySlice<UInt8>) -> UInt64? { number(digits, radix: 10) }

/// A number of digits only, without a sign; nil for anything else.
func number(_ digits: ArraySlice<UInt8>, radix: UInt64) -> UInt64? {
    var value: UInt64 = 0
    for byte in digits {
        let digit: UInt8
        switch byte {
        case 0x30 ... 0x39: digit = byte - 0x30
        case 0x61 ... 0x66: digit = byte - 0x61 + 10
        default: return nil
        }
        let (product, overflow) = value.multipliedReportingOverflow(by: radix)
        guard UInt64(digit) < radix, !overflow, product <= .max - UInt64(digit) else { return nil }
        value = product + UInt64(digit)
    }
    return digits.isEmpty ? nil : value
}
