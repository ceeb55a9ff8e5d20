// What the tools do with a file from outside, one function a kind of input: everything that they would
// read of it, and every report that they would make. Libfuzzer, the corpus and the tests call these and
// nothing else, so that they can't drift apart. A typed error is an answer like any other; whatever
// else happens (a trap, a hang, memory without measure) is a fault in the reader.

import Glibc
import SystemPackage

/// A kind of input, by the name that commands and folders of the corpus have for it.
package enum Surface: String, CaseIterable, Sendable {
    case image, elf, core, log, symbols, suppressions, report, gathered, jit

    /// Reads `bytes` as the tools would read a file of them.
    package func read(_ bytes: [UInt8]) throws {
        switch self {
        case .image: try readImage(bytes)
        case .elf: try withFile(of: bytes) { readELF($0) }
        case .core: try withFile(of: bytes) { try readCore($0) }
        case .log: try withFile(of: bytes) { readLog($0) }
        case .symbols: try withFile(of: bytes) { readListing($0) }
        case .suppressions: try readSuppressions(bytes)
        case .report: try readReport(bytes)
        case .gathered: try withFile(of: bytes) { readGathered($0) }
        case .jit: try withFile(of: bytes) { readJITCode($0) }
        }
    }

    /// The same of a file.
    package func read(path: String) throws {
        switch self {
        case .image: try readImage(path: path)
        case .elf: readELF(path)
        case .core: try readCore(path)
        case .log: readLog(path)
        case .symbols: readListing(path)
        case .suppressions: try withBytes(of: path, readSuppressions)
        case .report: try withBytes(of: path, readReport)
        case .gathered: readGathered(path)
        case .jit: readJITCode(path)
        }
    }
}

/// What the readers promise of one another, and an input broke.
package struct Contradiction: Error, CustomStringConvertible {
    package var description: String
}

/// Gives `body` the path of a file that holds `bytes`, on tmpfs: no disk is asked.
private func withFile(of bytes: [UInt8], _ body: (String) throws -> Void) throws {
    let path = "/dev/shm/heapsum-fuzz-\(getpid()).input"
    let descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    defer {
        close(descriptor)
        unlink(path)
    }
    var done = 0
    while done < bytes.count {
        let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done) }
        guard count > 0 else { throw Errno(rawValue: errno) }
        done += count
    }
    try body(path)
}

/// Gives `body` what a file holds.
private func withBytes(of path: String, _ body: ([UInt8]) throws -> Void) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Errno(rawValue: errno) }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw Errno(rawValue: errno) }
        if count == 0 { break }
        bytes += chunk[..<count]
    }
    try body(bytes)
}
