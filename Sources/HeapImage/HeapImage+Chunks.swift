// Reads sections in chunks of about a megabyte: each chunk is one copy from the source and one bounds-checked span. If
// a read fails or is short, the section ends there and the damage is noted; what was read counts.

import CHeapImage
import SystemPackage

let chunkBytes = 1 << 20

/// A buffer that the reader owns, for one pass over a section.
struct ReadBuffer: ~Copyable {
    let bytes: UnsafeMutableRawBufferPointer
    init(byteCount: Int) { bytes = .allocate(byteCount: max(byteCount, 1), alignment: 64) }
    deinit { bytes.deallocate() }
}

extension HeapImage {
    /// Reads up to `byteCount` bytes at `offset` into the buffer. Returns how many.
    func fill(_ buffer: borrowing ReadBuffer, _ byteCount: Int, at offset: UInt64, _ what: StaticString) -> Int {
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<min(byteCount, buffer.bytes.count)])
        do throws(Errno) {
            let count = try source.read(into: part, at: offset)
            if count < byteCount {
                note("cut off inside section \(what)", at: offset + UInt64(count), lost: UInt64(byteCount - count))
            }
            return count
        } catch {
            note("section \(what) can't be read: \(error)", at: offset, lost: UInt64(byteCount))
            return 0
        }
    }

    /// Passes a section's readable entries to `body`, in order: a span of whole entries, and the number of the first.
    /// Stops if `body` returns false.
    ///
    /// - Complexity: O(bytes), a megabyte of memory.
    func forEachChunk<Failure: Error>(
        of name: SectionName, from first: Int = 0,
        _ body: (_ bytes: RawSpan, _ firstEntry: Int) throws(Failure) -> Bool
    ) throws(Failure) {
        let section = sections[name.rawValue]
        guard first < section.readableEntries else { return }
        let perChunk = max(1, chunkBytes / section.entryBytes)
        let buffer = ReadBuffer(byteCount: min(perChunk, section.readableEntries - first) * section.entryBytes)
        var entry = first
        while entry < section.readableEntries {
            let wanted = min(perChunk, section.readableEntries - entry) * section.entryBytes
            let offset = section.offset + UInt64(entry) * UInt64(section.entryBytes)
            let count = fill(buffer, wanted, at: offset, name.literal)
            let entries = count / section.entryBytes
            if entries > 0 {
                let bytes = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<(entries * section.entryBytes)]).bytes
                if try !body(bytes, entry) { return }
            }
            if count < wanted { return }
            entry += entries
        }
    }

    /// Passes the entries of a section to `body` one by one, with their numbers.
    func forEachEntry<Entry: BitwiseCopyable>(
        of name: SectionName, as type: Entry.Type, from first: Int = 0, _ body: (Int, Entry) -> Void
    ) {
        forEachChunk(of: name, from: first) { bytes, firstEntry in
            let size = sections[name.rawValue].entryBytes
            for index in 0 ..< bytes.byteCount / size {
                body(firstEntry + index, bytes.unsafeLoadUnaligned(fromByteOffset: index * size, as: type))
            }
            return true
        }
    }

    /// The file offset of an entry, for messages.
    func place(of name: SectionName, _ entry: Int) -> UInt64 {
        let section = sections[name.rawValue]
        return section.offset &+ UInt64(truncatingIfNeeded: entry) &* UInt64(section.entryBytes)
    }
}

extension SectionName {
    // For messages without interpolation at run time.
    var literal: StaticString {
        switch self {
        case .strings: "STRINGS"
        case .modules: "MODULES"
        case .nodes: "NODES"
        case .stacks: "STACKS"
        case .threads: "THREADS"
        case .events: "EVENTS"
        case .timeline: "TIMELINE"
        case .pieces: "PIECES"
        case .slots: "SLOTS"
        case .blocks: "BLOCKS"
        case .names: "NAMES"
        case .verdicts: "VERDICTS"
        case .details: "DETAILS"
        }
    }
}
