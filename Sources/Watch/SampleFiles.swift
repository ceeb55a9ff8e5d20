// The files of a recording: DIR/samples-000001.watch and on, each a segment that begins with a head and a key sample.
// Each run begins a new segment; so does a full segment. A sample is one write and is checked by its CRC when it is
// read. So a run that is killed while it writes loses only that sample.
//
// Invariant: a segment only grows at its end, or is replaced as a whole, by rename, with a thinned one.

import Glibc
import Proc
import SystemPackage
import Text

/// The facts about a segment's run, at the segment's head.
package struct SegmentHead: Equatable, Sendable {
    /// Identifies the machine's start: boot times of different starts can't be compared.
    package var bootID = ""
    package var host = ""
    package var kernel = ""
    /// The real time, since 1970, when the machine's clock was `bootMilliseconds`.
    package var wallMilliseconds: Int64 = 0
    package var bootMilliseconds: Int64 = 0
    package var intervalMilliseconds: Int64 = 0
    package var pageBytes: Int64 = 4096
    package var ticksPerSecond: Int64 = 100
    package var processors: Int64 = 1
    /// How many times every second sample was removed.
    package var thinnings: Int64 = 0

    package init() {}

    /// The real time of a sample by the head's clock. Setting the clock later changes nothing.
    package func wall(_ boot: Int64) -> Int64 { wallMilliseconds &+ (boot &- bootMilliseconds) }

    var encoded: [UInt8] {
        var out = ByteWriter()
        for text in [bootID, host, kernel] { out.text(text) }
        for value in [
            wallMilliseconds, bootMilliseconds, intervalMilliseconds, pageBytes, ticksPerSecond, processors, thinnings,
        ] { out.signed(value) }
        return out.bytes
    }

    init(decoding payload: ArraySlice<UInt8>) throws(DecodingError) {
        var input = ByteReader(payload)
        bootID = try input.text()
        host = try input.text()
        kernel = try input.text()
        wallMilliseconds = try input.signed()
        bootMilliseconds = try input.signed()
        intervalMilliseconds = try input.signed()
        pageBytes = try input.signed()
        ticksPerSecond = try input.signed()
        processors = try input.signed()
        thinnings = try input.signed()
        // A later version may have more fields.
        guard (1 ... 1 << 24).contains(pageBytes), (1 ... 1_000_000).contains(ticksPerSecond),
            intervalMilliseconds >= 0,
            abs(wallMilliseconds) < 1 << 48, abs(bootMilliseconds) < 1 << 48
        else { throw DecodingError(offset: 0, reason: "a head that can't be") }
    }
}

/// A recording that can't be made, or can't be read.
package struct WatchError: Error, CustomStringConvertible {
    package var description: String
    package init(_ description: String) { self.description = description }
}

enum Frame {
    static let sync: [UInt8] = [0xA7, 0x48, 0x57]
    static let headBytes = 12
    /// Larger than any sample: a machine with a hundred thousand processes makes one of 20 MB.
    static let longest = 256 << 20

    static func make(_ kind: FrameKind, _ payload: [UInt8]) -> [UInt8] {
        var sum = CRC32()
        sum.add(kind.rawValue)
        sum.add(payload[...])
        var bytes = sync + [kind.rawValue]
        for word in [UInt32(clamping: payload.count), sum.value] {
            for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        return bytes + payload
    }

    /// The frame at an offset, if it is complete and its CRC is right.
    static func at(_ offset: Int, in bytes: [UInt8]) -> (kind: FrameKind, payload: Range<Int>)? {
        guard bytes.count - offset >= headBytes, bytes[offset ..< offset + 3].elementsEqual(sync),
            let kind = FrameKind(rawValue: bytes[offset + 3])
        else { return nil }
        func word(_ at: Int) -> UInt32 { (0 ..< 4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) } }
        let length = Int(word(offset + 4)), start = offset + headBytes
        guard length <= longest, length <= bytes.count - start else { return nil }
        var sum = CRC32()
        sum.add(kind.rawValue)
        sum.add(bytes[start ..< start + length])
        return sum.value == word(offset + 8) ? (kind, start ..< start + length) : nil
    }
}

/// The segments of a recording, oldest first.
package func segmentNames(in directory: String) throws(WatchError) -> [String] {
    do {
        return try ProcText(root: directory).names(in: "/").filter {
            $0.hasPrefix("samples-") && $0.hasSuffix(".watch") && segmentNumber($0) != nil
        }
        .sorted { (segmentNumber($0) ?? 0) < (segmentNumber($1) ?? 0) }
    } catch { throw WatchError("\(directory): \(error)") }
}

func segmentNumber(_ name: String) -> Int? { Int(name.dropFirst("samples-".count).dropLast(".watch".count)) }

func segmentName(_ number: Int) -> String {
    let digits = String(number)
    return "samples-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits + ".watch"
}

/// Writes a recording.
package final class SampleWriter {
    private let directory: String
    private let head: SegmentHead
    private var file: CInt = -1
    private let lock: CInt
    private var number: Int
    private var encoder = SampleEncoder()
    private var samples = 0
    private var bytes = 0
    private var syncedAt: Int64 = 0
    private let keptBytes: UInt64
    private var saidFull = false
    /// Samples that were lost because there was no space.
    package private(set) var lost = 0
    /// Messages for the user who started this, each once.
    package private(set) var notes: [String] = []

    static let samplesPerKey = 120
    static let samplesPerSegment = 1440
    static let bytesPerSegment = 16 << 20

    /// - Parameter keptBytes: above this size samples are thinned out.
    /// - Throws: if the directory can't be made or written, or another run is using it.
    package init(directory: String, head: SegmentHead, keptBytes: UInt64) throws(WatchError) {
        try? makeDirectories(FilePath(text: directory))
        // Held while this process runs, and released with it, however it ends.
        lock = "\(directory)/lock".withPath { open($0, O_RDWR | O_CREAT | O_CLOEXEC, 0o666) }
        guard lock >= 0 else { throw WatchError("\(directory): can't be written: \(Errno(rawValue: errno))") }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw WatchError(
                "\(directory): another heapwatch gathers there; give a directory of its own (-o), or end the other")
        }
        self.directory = directory
        self.head = head
        self.keptBytes = keptBytes
        number = try segmentNames(in: directory).last.flatMap(segmentNumber) ?? 0
        for name in (try? ProcText(root: directory).names(in: "/")) ?? [] where name.hasSuffix(".tmp") {
            _ = "\(directory)/\(name)".withPath { unlink($0) }
        }
    }

    deinit {
        if file >= 0 { close(file) }
        close(lock)
    }

    /// Adds a sample completely or not at all.
    /// - Throws: if no file can be made.
    package func append(_ sample: Sample) throws(WatchError) {
        if file < 0 || samples >= Self.samplesPerSegment || bytes >= Self.bytesPerSegment { try beginSegment(sample) }
        let isKey = samples % Self.samplesPerKey == 0
        if !write(isKey ? .key : .change, encoder.encode(sample, isKey: isKey)) {
            lost += 1
            // The next sample must be a key sample, because the state before it is missing.
            samples += Self.samplesPerKey - samples % Self.samplesPerKey
            return
        }
        samples += 1
        // If the machine runs out of memory and crashes, data that isn't on the disk is lost.
        if sample.bootMilliseconds - syncedAt >= 30_000 {
            fdatasync(file)
            syncedAt = sample.bootMilliseconds
        }
    }

    /// Adds a sentence: what the kernel doesn't have, or what happened to the run.
    package func note(_ text: String) {
        guard file >= 0 else { return }
        var out = ByteWriter()
        out.text(text)
        _ = write(.note, out.bytes)
    }

    package func finish() {
        if file >= 0 { fdatasync(file) }
    }

    package func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    private func beginSegment(_ sample: Sample) throws(WatchError) {
        if file >= 0 {
            fdatasync(file)
            close(file)
            file = -1
        }
        if let note = thinOut(directory, keptBytes: keptBytes) { notes.append(note) }
        number += 1
        let path = "\(directory)/\(segmentName(number))"
        file = path.withPath { open($0, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666) }
        guard file >= 0 else { throw WatchError("\(path): \(Errno(rawValue: errno))") }
        (samples, bytes) = (0, 0)
        _ = write(.head, head.encoded)
    }

    private func write(_ kind: FrameKind, _ payload: [UInt8]) -> Bool {
        let frame = Frame.make(kind, payload)
        let count = frame.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        if count == frame.count {
            bytes += count
            saidFull = false
            return true
        }
        let why = count < 0 ? "\(Errno(rawValue: errno))" : "\(Errno.noSpace)"
        // A partial frame would hide the frames after it.
        if count > 0 { ftruncate(file, off_t(bytes)) }
        if !saidFull {
            notes.append("\(directory)/\(segmentName(number)): a sample is lost: \(why); gathering goes on")
        }
        saidFull = true
        return false
    }
}
