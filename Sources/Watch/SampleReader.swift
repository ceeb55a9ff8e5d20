// Reads a recording sample by sample, oldest first. Damaged parts are skipped up to the next key sample, and reported
// with file, offset and length.

import Glibc
import SystemPackage
import Text

/// A part of a segment that could not be read.
package struct Damage: Equatable, Sendable {
    package var path: String
    package var offset: Int
    package var byteCount: Int
    /// At the end of the file: a run was killed while it wrote, or is just writing.
    package var isTail: Bool

    package var text: String {
        "\(path): offset \(offset): \(byteCount) bytes "
            + (isTail ? "at the end are a sample that was cut off" : "are damaged and passed over")
    }
}

/// Reads one recording.
package struct SampleReader {
    package let directory: String
    package private(set) var damages: [Damage] = []
    package private(set) var notes: [String] = []
    package private(set) var byteCount = 0
    package private(set) var sampleCount = 0

    package init(directory: String) { self.directory = directory }

    /// Passes the state after each sample to `body`, which may change only the entities' tags.
    /// - Throws: if there is no recording, or nothing in it can be read.
    package mutating func forEach(_ body: (SegmentHead, inout SampleDecoder) throws -> Void) throws {
        let names = try segmentNames(in: directory)
        if names.isEmpty { throw WatchError("\(directory): no recording there; heapwatch -o \(directory) makes one") }
        for name in names {
            let path = "\(directory)/\(name)"
            let bytes: [UInt8]
            do { bytes = try contents(path) } catch { throw WatchError("\(path): \(error)") }
            byteCount += bytes.count
            try read(path, bytes, body)
        }
        if sampleCount == 0 {
            throw WatchError(
                damages.first.map { "\(directory): no sample can be read: \($0.text)" }
                    ?? "\(directory): no samples in it yet")
        }
    }

    private mutating func read(
        _ path: String, _ bytes: [UInt8], _ body: (SegmentHead, inout SampleDecoder) throws -> Void
    ) throws {
        var offset = 0, head: SegmentHead?, decoder = SampleDecoder(), isWhole = false
        while offset < bytes.count {
            guard let frame = Frame.at(offset, in: bytes) else {
                let next = nextFrame(after: offset, in: bytes)
                damages.append(
                    Damage(path: path, offset: offset, byteCount: (next ?? bytes.count) - offset, isTail: next == nil))
                guard let next else { return }
                offset = next
                isWhole = false
                continue
            }
            let payload = bytes[frame.payload]
            do {
                switch frame.kind {
                case .head: head = try SegmentHead(decoding: payload)
                case .note:
                    var input = ByteReader(payload)
                    let note = try input.text()
                    if notes.count < 1000, !notes.contains(note) { notes.append(note) }
                case .key, .change:
                    guard let head, frame.kind == .key || isWhole else {
                        damages.append(
                            Damage(
                                path: path, offset: offset, byteCount: frame.payload.upperBound - offset, isTail: false)
                        )
                        break
                    }
                    isWhole = false
                    try decoder.apply(payload, isKey: frame.kind == .key)
                    isWhole = true
                    sampleCount += 1
                    try body(head, &decoder)
                }
            } catch is DecodingError {
                damages.append(
                    Damage(path: path, offset: offset, byteCount: frame.payload.upperBound - offset, isTail: false))
            }
            offset = frame.payload.upperBound
        }
    }

    // The next complete frame.
    private func nextFrame(after offset: Int, in bytes: [UInt8]) -> Int? {
        var at = offset + 1
        while at + Frame.headBytes <= bytes.count {
            guard let found = bytes[at...].firstIndex(of: Frame.sync[0]) else { return nil }
            if Frame.at(found, in: bytes) != nil { return found }
            at = found + 1
        }
        return nil
    }
}

/// A segment's bytes. The file may grow meanwhile.
func contents(_ path: String) throws(Errno) -> [UInt8] {
    let file = path.withPath { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
    guard file >= 0 else { throw Errno(rawValue: errno) }
    defer { close(file) }
    var about = stat()
    guard fstat(file, &about) == 0 else { throw Errno(rawValue: errno) }
    guard about.st_mode & S_IFMT == S_IFREG else { throw .invalidArgument }
    guard about.st_size <= 1 << 30 else { throw .fileTooLarge }
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(about.st_size)) { buffer, done in
        done = 0
        while done < buffer.count {
            let count = read(file, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            if count < 0 && errno == EINTR { continue }
            if count < 0 { failure = Errno(rawValue: errno) }
            if count <= 0 { break }
            done += count
        }
    }
    if let failure { throw failure }
    return bytes
}
