// What the header says of a program and its recording, in Swift's words. No checks beyond each value's
// own range: a number that can't be is shown as "unknown" rather than refused.

import CHeapImage
import Common
import Glibc

extension HeapImage {
    /// The shape and occasion of an image.
    package enum Kind: UInt32 {
        case running = 1, dump = 2, packed = 3
    }

    /// How the program stands, or ended.
    package enum State: UInt32 {
        case running = 0, exited = 1, killed = 2, exec = 3, unknown = 4
    }

    /// Whose heap it is. Equal identities are one process.
    package struct Identity: Hashable {
        package var bootID: [UInt8]
        package var processID: UInt32
        package var startTime: UInt64
        package var program: String
    }

    package var kind: Kind { Kind(rawValue: header.kind) ?? .running }
    /// The state as the image has it; see `effectiveState`.
    package var state: State { State(rawValue: header.state) ?? .unknown }

    /// The state as it is: an image whose program was never seen to end, and is not there, is of a
    /// program that is gone nobody knows how.
    package var effectiveState: State {
        if state == .running && kind != .dump && presence == .gone { return .unknown }
        return state
    }

    /// 16 bytes, all zero where not known.
    package var bootID: [UInt8] { withUnsafeBytes(of: header.boot_id) { Array($0) } }
    package var identity: Identity {
        Identity(bootID: bootID, processID: header.pid, startTime: header.start_time, program: program)
    }

    package func hasFlag(_ flag: heap_flags) -> Bool { header.flags & flag.rawValue != 0 }
    package var losses: heap_losses { header.losses }

    /// Events that the image could not book in full: lost allocations, and events without a stack or a place.
    package var lostEvents: UInt64 { losses.lost_allocations }

    /// The executable's path; empty where not known.
    package var program: String { text(header.program, limit: 4096) }
    /// The executable's base name; "program" where not known.
    package var programName: String {
        let name = program.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
        return name.isEmpty ? "program" : name
    }
    /// The command line, one string an argument.
    package var arguments: [String] {
        var bytes = string(header.arguments, limit: 4 << 20)
        if bytes.last == 0 { bytes.removeLast() }
        if bytes.isEmpty { return [] }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).map { pathText($0) }
    }
    /// Path of the module whose malloc is next in line.
    package var allocator: String { text(header.allocator, limit: 4096) }
    /// The directory for dumps.
    package var outputDirectory: String { text(header.output, limit: 4096) }
    /// The image's file name, without a directory.
    package var imageName: String { text(header.name, limit: 4096) }

    /// The times at which the writing of a dense image began and ended, nanoseconds since the
    /// recording's start; nil for a running one.
    package var writingNanoseconds: (began: UInt64, ended: UInt64)? {
        kind == .running ? nil : (header.began_ns, header.ended_ns)
    }
}

/// Whether a process is there.
package enum Presence: Sendable {
    case running, gone

    /// Asks /proc for the process with this number, in its own PID namespace, that started at
    /// `startTime` (clock ticks since boot) under the boot `bootID` (all zero: not known).
    ///
    /// - Complexity: One look; for a process of another PID namespace one a process of the system.
    package static func ask(processID: UInt32, startTime: UInt64, bootID: [UInt8]) -> Presence {
        if bootID.contains(where: { $0 != 0 }), let now = currentBootID(), now != bootID { return .gone }
        if ProcessStat(processID: processID)?.startTime == startTime { return aliveUnlessZombie(processID) }
        // Recorded in a container and read outside of it: the process has another number here.
        guard let directory = opendir("/proc") else { return .gone }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let number = UInt32(name), number != processID,
                  ProcessStat(processID: number)?.startTime == startTime,
                  innermostProcessID(number) == processID else { continue }
            return aliveUnlessZombie(number)
        }
        return .gone
    }

    private static func aliveUnlessZombie(_ processID: UInt32) -> Presence {
        guard let state = ProcessStat(processID: processID)?.state else { return .gone }
        return state == UInt8(ascii: "Z") || state == UInt8(ascii: "X") ? .gone : .running
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

/// The two fields of /proc/PID/stat that tell a process from a later one with its number.
struct ProcessStat {
    var state: UInt8
    var startTime: UInt64

    init?(processID: UInt32) {
        // The name in parentheses may hold anything, so the fields count from the last parenthesis.
        guard let text = smallFile("/proc/\(processID)/stat"),
              let end = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = text[(end + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, let first = fields[0].first,
              let start = UInt64(String(decoding: fields[19], as: UTF8.self)) else { return nil }
        state = first
        startTime = start
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
