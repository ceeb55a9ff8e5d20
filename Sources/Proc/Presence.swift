// Whether a process is there still, as /proc has it. A process is its threads: the one that its number is called by may
// have ended while others run on. Then the number's own entry in /proc is that of a zombie, with neither memory nor
// files, and the process is read by the entry of a thread that lives.

import Glibc
import SystemPackage

/// Whether a process is there.
package enum Presence: Sendable {
    case running, gone

    /// Asks /proc for the process with this number, in its own PID namespace, that started at
    /// `startTime` (clock ticks since boot) under the boot `bootID` (all zero: not known).
    ///
    /// - Complexity: One look; for a process of another PID namespace one a process of the system.
    package static func ask(processID: UInt32, startTime: UInt64, bootID: [UInt8]) -> Presence {
        find(processID: processID, startTime: startTime, bootID: bootID) == nil ? .gone : .running
    }

    /// The same process's number in our PID namespace; nil where it is gone.
    package static func find(processID: UInt32, startTime: UInt64, bootID: [UInt8]) -> UInt32? {
        if bootID.contains(where: { $0 != 0 }), let now = currentBootID(), now != bootID { return nil }
        if ProcessStat.of(pid_t(bitPattern: processID))?.startTime == startTime {
            return livingThread(of: processID) == nil ? nil : processID
        }
        // Recorded in a container and read outside: the process has another number here.
        for pid in processes() {
            let number = UInt32(bitPattern: pid)
            guard number != processID, ProcessStat.of(pid)?.startTime == startTime, innermostPID(of: pid) == processID
            else { continue }
            return livingThread(of: number) == nil ? nil : number
        }
        return nil
    }

    /// A thread of the process that lives, by whose entry in /proc its memory and files can be read: the first one as a
    /// rule, whose number is the process's. nil where none lives.
    ///
    /// - Complexity: One look; where the first thread has ended, one a thread.
    package static func livingThread(of processID: UInt32) -> UInt32? {
        let pid = pid_t(bitPattern: processID)
        guard let first = ProcessStat.of(pid) else { return nil }
        if first.isAlive { return processID }
        // The first thread stays until all others are gone, and is counted with them.
        guard first.threads > 1 else { return nil }
        for name in (try? namesInDirectory(FilePath("/proc/\(pid)/task"))) ?? [] {
            if let thread = pid_t(name.text), ProcessStat.of(thread: thread, of: pid)?.isAlive == true {
                return UInt32(bitPattern: thread)
            }
        }
        return nil
    }

    /// This boot's number, 16 bytes; nil where the kernel doesn't say.
    package static func currentBootID() -> [UInt8]? {
        guard let text = try? readBytes("/proc/sys/kernel/random/boot_id", limit: 256) else { return nil }
        let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32 else { return nil }
        return (0 ..< 16).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
    }
}

/// The number by which /proc shows what a process's threads share: its own, or where its first thread has ended, that
/// of one that lives.
package func livingThread(of pid: pid_t) -> pid_t {
    Presence.livingThread(of: UInt32(bitPattern: pid)).map { pid_t(bitPattern: $0) } ?? pid
}
