// What the header says about a program and its recording, as Swift values. Each value is only checked for its own
// range: one out of range is shown as "unknown", not refused.

import CHeapImage
import Glibc
import Text

extension HeapImage {
    /// The shape and occasion of an image.
    package enum Kind: UInt32 {
        case running = 1, dump = 2, packed = 3
    }

    /// Whether the program runs, or how it ended.
    package enum State: UInt32 {
        case running = 0, exited = 1, killed = 2, exec = 3, unknown = 4
    }

    /// The process that the heap belongs to. Equal identities are the same process.
    package struct Identity: Hashable {
        package var bootID: [UInt8]
        package var processID: UInt32
        package var startTime: UInt64
        package var program: String
    }

    package var kind: Kind { Kind(rawValue: header.kind) ?? .running }
    /// The state that the image records; see `effectiveState`.
    package var state: State { State(rawValue: header.state) ?? .unknown }

    /// The true state: if the image says "running" and the process no longer exists, the program ended and nobody saw
    /// how.
    package var effectiveState: State {
        if state == .running && kind != .dump && presence == .gone { return .unknown }
        return state
    }

    /// 16 bytes, all zero if not known.
    package var bootID: [UInt8] { withUnsafeBytes(of: header.boot_id) { Array($0) } }
    package var identity: Identity {
        Identity(bootID: bootID, processID: header.pid, startTime: header.start_time, program: program)
    }

    package func hasFlag(_ flag: heap_flags) -> Bool { header.flags & flag.rawValue != 0 }
    package var losses: heap_losses { header.losses }

    /// Allocations that are not in the image: there was no space for them, or they came before recording could start.
    package var lostEvents: UInt64 {
        losses.lost_allocations.addingReportingOverflow(losses.early_allocations).partialValue
    }

    /// The executable's path; empty if not known.
    package var program: String { text(header.program, limit: 4096) }
    /// The executable's base name; "program" if not known.
    package var programName: String {
        let name = program.utf8.split(separator: UInt8(ascii: "/")).last.map { String(Substring($0)) } ?? ""
        return name.isEmpty ? "program" : name
    }
    /// The command line, one string for each argument.
    package var arguments: [String] {
        var bytes = string(header.arguments, limit: 4 << 20)
        if bytes.last == 0 { bytes.removeLast() }
        if bytes.isEmpty { return [] }
        return bytes.split(separator: 0, omittingEmptySubsequences: false).map { pathText($0) }
    }
    /// The version of the heapsum library that recorded it; nil if not known.
    package var recorder: String? {
        let (major, minor, patch) = header.recorder
        return (major, minor, patch) == (0, 0, 0) ? nil : "\(major).\(minor).\(patch)"
    }

    /// Path of the module whose malloc is next in line.
    package var allocator: String { text(header.allocator, limit: 4096) }
    /// The directory for dumps.
    package var outputDirectory: String { text(header.output, limit: 4096) }
    /// The image's file name, without a directory.
    package var imageName: String { text(header.name, limit: 4096) }

    /// When writing a dense image began and ended, in nanoseconds since the recording's start; nil for a running image.
    package var writingNanoseconds: (began: UInt64, ended: UInt64)? {
        kind == .running ? nil : (header.began_ns, header.ended_ns)
    }
}
