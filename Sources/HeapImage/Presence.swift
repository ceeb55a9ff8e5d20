// Whether a process is there still, as /proc has it. A process is its threads: the one that its number is called by may have
// ended while others run on. Then the number's own entry in /proc is that of a zombie, with neither memory nor files, and the
// process is read by the entry of a thread that lives.

import Glibc
import Text

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
        if ProcessStat(processID: processID)?.startTime == startTime { return livingThread(of: processID) == nil ? nil : processID }
        // Recorded in a container and read outside: the process has another number here.
        guard let directory = opendir("/proc") else { return nil }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let number = UInt32(name), number != processID,
                  ProcessStat(processID: number)?.startTime == startTime,
                  innermostProcessID(number) == processID else { continue }
            return livingThread(of: number) == nil ? nil : number
        }
        return nil
    }

    /// A thread of the process that lives, by whose entry in /proc its memory and files can be read: the first one as a rule,
    /// whose number is the process's. nil where none lives.
    ///
    /// - Complexity: One look; where the first thread has ended, one a thread.
    package static func livingThread(of processID: UInt32) -> UInt32? {
        guard let first = ProcessStat(processID: processID) else { return nil }
        if first.isAlive { return processID }
        // The first thread stays until all others are gone, and is counted with them.
        guard first.threads > 1, let directory = opendir("/proc/\(processID)/task") else { return nil }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if let thread = UInt32(name), ProcessStat(path: "/proc/\(processID)/task/\(thread)/stat")?.isAlive == true { return thread }
        }
        return nil
    }

    private static func innermostProcessID(_ processID: UInt32) -> UInt32? {
        guard let status = smallFile("/proc/\(processID)/status") else { return nil }
        for line in status.split(separator: UInt8(ascii: "\n")) where line.starts(with: "NSpid:".utf8) {
            return line.split(whereSeparator: { $0 == 9 || $0 == 32 }).last
                .flatMap { UInt32(String(decoding: $0, as: UTF8.self)) }
        }
        return nil
    }

    /// This boot's number, 16 bytes; nil where the kernel doesn't say.
    package static func currentBootID() -> [UInt8]? {
        guard let text = smallFile("/proc/sys/kernel/random/boot_id") else { return nil }
        let digits = text.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 32 else { return nil }
        return (0 ..< 16).map { UInt8(digits[2 * $0] << 4 | digits[2 * $0 + 1]) }
    }
}

/// What of /proc/PID/stat tells a process from a later one with its number, and whether it runs.
struct ProcessStat {
    var state: UInt8
    var startTime: UInt64
    var threads: UInt64

    /// Of this thread: a zombie has given back its memory.
    var isAlive: Bool { state != UInt8(ascii: "Z") && state != UInt8(ascii: "X") }

    init?(processID: UInt32) { self.init(path: "/proc/\(processID)/stat") }

    init?(path: String) {
        // The name in parentheses may hold anything, so the fields count from the last parenthesis.
        guard let text = smallFile(path), let end = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let first = fields[0].first, let threads = UInt64(String(decoding: fields[17], as: UTF8.self)),
              let start = UInt64(String(decoding: fields[19], as: UTF8.self)) else { return nil }
        (state, startTime, self.threads) = (first, start, threads)
    }
}

/// The first 16 KB of a small file, as /proc has them.
func smallFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    return [UInt8](unsafeUninitializedCapacity: 16384) { buffer, count in
        while count < buffer.count {
            let got = read(descriptor, buffer.baseAddress.map { $0 + count }, buffer.count - count)
            if got < 0 && errno == EINTR { continue }
            if got <= 0 { break }
            count += got
        }
    }
}
