// Who looks at processes when they end: what Supervisor hands on, and what a recording takes from it. The looking
// itself needs more than a launcher has (Leaks, Report), so it comes from outside.

import Glibc
import HeapImage
import Proc
import SystemPackage

/// A tracer of the program, from its first instruction to its end.
package struct EndTracer {
    /// What became of a wait status.
    package enum Status { case notAStop, goesOn, stopped(signal: Int32) }

    /// ptrace's options.
    package var options: UInt
    /// Takes what waitpid said of any thread.
    package var take: (_ thread: pid_t, _ status: Int32) -> Status
    /// What is to be stored with a process's image; asked for once.
    package var verdict: (MappedFile) -> VerdictToStore?
    /// Is told where the image of a process lies now, of which `verdict` was asked for.
    package var packed: (MappedFile, FilePath) -> Void
    /// Lines for the report.
    package var report: () -> [String]
    /// The exit status instead of the program's own, where it is to be another one.
    package var exitStatus: () -> Int32?

    package init(
        options: UInt, take: @escaping (pid_t, Int32) -> Status, verdict: @escaping (MappedFile) -> VerdictToStore?,
        packed: @escaping (MappedFile, FilePath) -> Void, report: @escaping () -> [String],
        exitStatus: @escaping () -> Int32?
    ) {
        (self.options, self.take, self.verdict, self.packed) = (options, take, verdict, packed)
        (self.report, self.exitStatus) = (report, exitStatus)
    }
}
