// The interface to the code that examines processes when they end: what Supervisor passes to it, and what a recording
// gets from it. The examination itself needs more than a launcher has (Leaks, Report), so it comes from outside.

import Glibc
import HeapImage
import Proc
import SystemPackage

/// A tracer of the program, from its first instruction to its end.
package struct EndTracer {
    /// How a wait status was handled.
    package enum Status { case notAStop, goesOn, stopped(signal: Int32) }

    /// ptrace's options.
    package var options: UInt
    /// Handles what waitpid reported for any thread.
    package var take: (_ thread: pid_t, _ status: Int32) -> Status
    /// The verdict to store with a process's image; called once.
    package var verdict: (MappedFile) -> VerdictToStore?
    /// The pages to store with a process's image, in order of address; called once.
    package var pages: (MappedFile) -> [Range<UInt64>]?
    /// Called with the final place of an image for which `verdict` was asked.
    package var packed: (MappedFile, FilePath) -> Void
    /// Lines for the report.
    package var report: () -> [String]
    /// The exit status that replaces the program's own, if there is one.
    package var exitStatus: () -> Int32?

    package init(
        options: UInt, take: @escaping (pid_t, Int32) -> Status, verdict: @escaping (MappedFile) -> VerdictToStore?,
        pages: @escaping (MappedFile) -> [Range<UInt64>]?, packed: @escaping (MappedFile, FilePath) -> Void,
        report: @escaping () -> [String],
        exitStatus: @escaping () -> Int32?
    ) {
        (self.options, self.take, self.verdict, self.pages) = (options, take, verdict, pages)
        self.packed = packed
        (self.report, self.exitStatus) = (report, exitStatus)
    }
}
