// Whether a process still exists, according to /proc. A process's main thread may end while other threads run on. Then
// /proc/PID is that of a zombie, without memory or files, and the process is read through a living thread's entry.

import Glibc
import SystemPackage

/// Whether a process exists.
package enum Presence: Sendable {
    case running, gone

    /// Asks /proc for the process with this number, in its own PID namespace, that started at
    /// `startTime` (clock ticks since boot) under the boot `bootID` (all zero: not known).
    ///
    /// - Complexity: reads one file; for a process of another PID namespace, one for each process of the system.
    package static func ask(processID: UInt32, startTime: UInt64, bootID: [UInt8]) -> Presence {
        find(processID: processID, startTime: startTime, bootID: bootID) == nil ? .gone : .running
    }

    /// The process's PID in this tool's PID namespace; nil if it has ended.
    package static func find(processID: UInt32, startTime: UInt64, bootID: [UInt8]) -> UInt32? {
        if bootID.contains(where: { $0 != 0 }), let now = currentBootID(), now != bootID { return nil }
        if ProcessStat.of(pid_t(bitPattern: processID))?.startTime == startTime {
            return livingThread(of: processID) == nil ? nil : processID
        }
        // It may have been recorded in a container: the process has another PID out here.
        for pid in processes() {
            let number = UInt32(bitPattern: pid)
            guard number != processID, ProcessStat.of(pid)?.startTime == startTime, innermostPID(of: pid) == processID
            else { continue }
            return livingThread(of: number) == nil ? nil : number
        }
        return nil
    }

    /// Whether the process with this number here, which started at `startTime`, still runs.
    ///
    /// - Complexity: as `livingThread`.
    package static func isRunning(_ pid: pid_t, since startTime: UInt64) -> Bool {
        ProcessStat.of(pid)?.startTime == startTime && livingThread(of: UInt32(bitPattern: pid)) != nil
    }

    /// A living thread of the process: its entry in /proc gives the process's memory and files. Usually it is the main
    /// thread, whose number is the PID. nil if no thread lives.
    ///
    /// - Complexity: reads one file; if the main thread has ended, one for each thread.
    package static func livingThread(of processID: UInt32) -> UInt32? {
        let pid = pid_t(bitPattern: processID)
        guard let first = ProcessStat.of(pid) else { return nil }
        if first.isAlive { return processID }
        // The main thread remains as a zombie until the others have ended, and is counted as a thread.
        guard first.threads > 1 else { return nil }
        for name in (try? namesInDirectory(FilePath("/proc/\(pid)/task"))) ?? [] {
            if let thread = pid_t(name.text), ProcessStat.of(thread: thread, of: pid)?.isAlive == true {
                return UInt32(bitPattern: thread)
            }
        }
        return nil
    }

    /// This boot's ID, 16 bytes; nil if the kernel doesn't give it.
    package static func currentBootID() -> [UInt8]? {
        guard let text = try? readBytes("/proc/sys/kernel/random/boot_id", limit: 256) else { return nil }
        let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32 else { return nil }
        return stride(from: 0, to: 32, by: 2).map { digit -> UInt8 in
            UInt8(digits[digit]) << 4 | UInt8(digits[digit + 1])
        }
    }
}

/// The number under which /proc shows what the process's threads share: the PID, or a living thread's number if the
/// main thread has ended.
package func livingThread(of pid: pid_t) -> pid_t {
    Presence.livingThread(of: UInt32(bitPattern: pid)).map { pid_t(bitPattern: $0) } ?? pid
}
