// Splits a log into chunks that begin at records, and gives them to the workers in turn. Only one worker reads at a
// time; all process their chunks at once.
//
// Invariant: every byte of the log is in exactly one chunk, in order, and every record is in one chunk, unless it is
// longer than a record can be. A chunk knows the sets of its bytes. Memory: one chunk for each worker, and the carry
// between two chunks. One of the files with raw pointers.

import Glibc

/// A piece of a log that one worker owns.
final class Chunk {
    fileprivate(set) var bytes: UnsafeMutableRawBufferPointer
    fileprivate(set) var count = 0
    /// Where it begins in the log.
    fileprivate(set) var base: UInt64 = 0
    /// Its parts with their sets, from 1; 0 is before the first heading.
    fileprivate(set) var segments: [(set: Int, segment: LogSegment)] = []
    /// A record was cut because it is too long.
    fileprivate(set) var isForced = false

    init() { bytes = .allocate(byteCount: ChunkReader.chunkBytes, alignment: 64) }
    deinit { bytes.deallocate() }

    var text: LogText { LogText(UnsafeRawBufferPointer(rebasing: bytes[..<count])) }

    fileprivate func grow(to capacity: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 64)
        larger.copyMemory(from: UnsafeRawBufferPointer(bytes))
        bytes.deallocate()
        bytes = larger
    }
}

/// Hands out the chunks of one log.
final class ChunkReader: @unchecked Sendable {
    /// Fits into a core's own cache together with the data it is compared with.
    static let chunkBytes = 256 << 10

    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let stream: LogStream
    private let format: any LogFormat.Type
    private let progress: ((_ bytes: UInt64, _ stored: UInt64) -> Void)?
    private var carry: [UInt8] = []
    private var offset: UInt64 = 0
    private var isAtEnd = false
    /// The set that the next byte belongs to.
    private(set) var set = 0
    private(set) var failure: LogError?
    /// The log's name in messages.
    var name: String { stream.name }
    /// Bytes handed out.
    var byteCount: UInt64 { offset }

    init(_ stream: LogStream, _ format: any LogFormat.Type, progress: ((UInt64, UInt64) -> Void)? = nil) {
        self.stream = stream
        self.format = format
        self.progress = progress
        pthread_mutex_init(lock, nil)
    }

    deinit {
        pthread_mutex_destroy(lock)
        lock.deallocate()
    }

    /// Reads the next piece of the log into `chunk`. False at the end.
    func next(_ chunk: Chunk) -> Bool {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        chunk.count = 0
        chunk.segments.removeAll(keepingCapacity: true)
        chunk.isForced = false
        if isAtEnd && carry.isEmpty { return false }
        if carry.count > chunk.bytes.count { chunk.grow(to: carry.count) }
        chunk.bytes.copyBytes(from: carry)
        var filled = carry.count, cut = 0
        carry.removeAll(keepingCapacity: true)
        while true {
            if !isAtEnd && filled < chunk.bytes.count {
                do throws(LogError) {
                    let count = try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: chunk.bytes[filled...]))
                    if count < chunk.bytes.count - filled { isAtEnd = true }
                    filled += count
                } catch {
                    // What was read so far counts.
                    failure = error
                    isAtEnd = true
                }
            }
            cut =
                isAtEnd || format.isBinary
                ? filled : lastRecord(in: LogText(UnsafeRawBufferPointer(rebasing: chunk.bytes[..<filled])))
            if cut > 0 || isAtEnd { break }
            if chunk.bytes.count >= longestRecordBytes {
                chunk.isForced = true
                cut = filled
                break
            }
            chunk.grow(to: chunk.bytes.count * 2)
        }
        carry.append(contentsOf: UnsafeRawBufferPointer(rebasing: chunk.bytes[cut ..< filled]))
        chunk.count = cut
        chunk.base = offset
        offset &+= UInt64(cut)
        divide(chunk)
        progress?(offset, stream.position)
        return cut > 0
    }

    /// The last place, after the first byte, where a record or a heading begins; 0 if there is none.
    private func lastRecord(in text: LogText) -> Int {
        var start = text.lineStart(before: text.count)
        while start > 0 {
            if format.beginsRecord(text, at: start) { return start }
            if let heading = format.heading, text.has(heading, at: start) && format.isHeading(text, at: start) {
                return start
            }
            start = text.lineStart(before: start - 1)
        }
        return 0
    }

    /// Divides a chunk where sets begin. A heading may be in the middle of a line, if the program that wrote the
    /// previous set ended there.
    private func divide(_ chunk: Chunk) {
        let text = chunk.text
        var start = 0
        if let heading = format.heading {
            var from = 0
            while let place = text.find(heading, from: from) {
                from = place + heading.utf8CodeUnitCount
                guard format.isHeading(text, at: place) else { continue }
                if set == 0 && hasRecord(text, start, place) { set = 1 }
                add(chunk, start, place, endsSet: true)
                set += 1
                start = place
            }
        }
        // A log that was cut at its start begins with a set without a heading.
        if set == 0 && (format.heading == nil || hasRecord(text, start, text.count)) { set = 1 }
        add(chunk, start, text.count, endsSet: isAtEnd && carry.isEmpty)
    }

    private func add(_ chunk: Chunk, _ start: Int, _ end: Int, endsSet: Bool) {
        if start < end { chunk.segments.append((set, LogSegment(start: start, end: end, endsSet: endsSet))) }
    }

    private func hasRecord(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        while place < end {
            if format.beginsRecord(text, at: place) { return true }
            place = text.lineEnd(from: place) + 1
        }
        return false
    }
}
