// The reader of one heap image: its header, checked, and where its sections lie.
//
// Invariant: `sections[i].readableEntries` entries of section i lie within what the file is known to
// hold and within what the recorder made ready, so that nothing here reads past either. Nothing in the
// image is believed before it has been checked, and nothing is allocated by a count that the file's
// size doesn't bear out. One HeapImage is used by one thread at a time.

import CHeapImage
import Proc
import SystemPackage
import Text

/// One section of an image, after checking.
package struct ImageSection {
    package var offset: UInt64 = 0
    package var entryBytes = 0
    /// Entries handed out, as the image says.
    package var used: UInt64 = 0
    /// Entries that can be read.
    package var readableEntries = 0
    /// Entries that the section has room for: no index in the image may pass it, even where the
    /// program goes on while we read.
    package var roomEntries = 0
}

/// A heap image, opened for reading.
package final class HeapImage {
    package let source: any ByteSource
    /// The header as it was last read; `refresh()` reads it again.
    package private(set) var header: heap_header
    package private(set) var sections: [ImageSection]
    /// What is damaged, in the order of discovery, one entry a kind.
    package private(set) var damages: [Damage] = []
    private var presenceKnown: Presence?

    /// The source's name, as messages give it.
    package var file: String { source.name }
    package var damaged: Bool { !damages.isEmpty }

    /// Opens the image at `path`, a file; `-` is standard input.
    ///
    /// - Throws: `InputError` where it can't be opened, is no heap image, or one of another version.
    package convenience init(path: String) throws(InputError) {
        let source: FileSource
        do {
            source = path == "-" ? try FileSource.standardInput() : try FileSource(path: path)
        } catch {
            let what = error == .invalidArgument ? "not a regular file" : "\(error)"
            throw InputError(file: path, offset: nil, what: what)
        }
        try self.init(source)
    }

    /// Opens the image that `source` holds. `presence` says whether the program still runs, where the
    /// caller knows; without it /proc is asked when it matters.
    ///
    /// - Throws: `InputError` where nothing in it can be used.
    package init(_ source: any ByteSource, presence: Presence? = nil) throws(InputError) {
        self.source = source
        self.presenceKnown = presence
        header = try Self.readHeader(source)
        sections = []
        try placeSections()
    }

    /// Reads the header again: a running program hands out more of its sections all the time.
    package func refresh() throws(InputError) {
        header = try Self.readHeader(source)
        try placeSections()
    }

    /// What `body` makes of the sections as they are by now, where they can be read. The image itself stays at what was
    /// read before.
    func withFreshSections<Result>(_ body: () -> Result) -> Result {
        let before = (header, sections)
        try? refresh()
        defer { (header, sections) = before }
        return body()
    }

    /// Whether the program whose heap this is still runs. Asked of /proc once.
    package var presence: Presence {
        if let presenceKnown { return presenceKnown }
        let found: Presence
        if kind != .running || state != .running {
            found = .gone
        } else if source.isProcessMemory {
            found = .running
        } else {
            found = Presence.ask(processID: header.pid, startTime: header.start_time, bootID: bootID)
        }
        presenceKnown = found
        return found
    }

    /// Adds to the list of damages; more of a kind only count up.
    package func note(_ what: String, at offset: UInt64, lost: UInt64 = 0) {
        if let index = damages.firstIndex(where: { $0.what == what }) {
            damages[index].count += 1
            damages[index].lostBytes = damages[index].lostBytes.addingReportingOverflow(lost).partialValue
        } else if damages.count < 1000 {
            damages.append(Damage(file: file, offset: offset, lostBytes: lost, count: 1, what: what))
        }
    }
}

// MARK: - Opening

extension HeapImage {
    private static func readHeader(_ source: any ByteSource) throws(InputError) -> heap_header {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLayout<heap_header>.size, alignment: 8)
        defer { bytes.deallocate() }
        let count: Int
        do throws(Errno) { count = try source.read(into: bytes, at: 0) } catch {
            throw InputError(file: source.name, offset: 0, what: "can't be read: \(error)")
        }
        return try heap_header.read(
            UnsafeRawBufferPointer(rebasing: bytes.prefix(max(0, min(count, bytes.count)))), file: source.name)
    }

    static let entryBytes: [Int] = [
        1, MemoryLayout<heap_module>.size, MemoryLayout<heap_node>.size, MemoryLayout<heap_stack>.size,
        MemoryLayout<heap_thread>.size, MemoryLayout<heap_ring>.size, MemoryLayout<heap_sample>.size,
        MemoryLayout<heap_piece>.size, Int(HEAP_PIECE_BYTES), MemoryLayout<heap_block>.size,
        MemoryLayout<heap_name>.size, MemoryLayout<heap_verdict>.size, Int(HEAP_DETAIL_BYTES),
    ]

    /// Bytes of an entry, in this image's version.
    private func entryBytes(_ section: Int) -> Int {
        section == SectionName.stacks.rawValue && header.version == HEAP_VERSION_1
            ? MemoryLayout<heap_stack_1>.size : Self.entryBytes[section]
    }

    /// Whether section NAMES is there: only where a dense image says so. In its place others have what is the
    /// recorder's own.
    package var hasNames: Bool { kind != .running && hasFlag(HEAP_FLAG_NAMES) }

    private func placeSections() throws(InputError) {
        let tableOffset =
            header.version == HEAP_VERSION_1
            ? Int(HEAP_SECTIONS_1_OFFSET) : MemoryLayout<heap_header>.offset(of: \.sections) ?? 0
        let raw = withUnsafeBytes(of: header.sections) { bytes in
            (0 ..< Int(HEAP_SECTION_COUNT.rawValue)).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<heap_section>.size, as: heap_section.self)
            }
        }
        var claimed: UInt64 = 0
        var placed: [ImageSection] = []
        for index in Self.entryBytes.indices {
            let entryBytes = entryBytes(index)
            let entry = raw[index]
            let place = UInt64(tableOffset + index * MemoryLayout<heap_section>.size)
            var section = ImageSection(offset: entry.offset, entryBytes: entryBytes, used: entry.used)
            defer { placed.append(section) }
            if entry.used == 0 && entry.capacity == 0 { continue }
            // What is the recorder's own is nothing to a reader.
            if (index == SectionName.names.rawValue && !hasNames)
                || (index == SectionName.verdicts.rawValue && !hasVerdict)
            {
                section.used = 0
                continue
            }

            let name = SectionName.texts[index]
            let (end, overflow) = entry.offset.addingReportingOverflow(entry.capacity)
            let length = source.length
            if overflow || entry.offset % 8 != 0 || entry.offset < UInt64(header.header_bytes)
                || entry.entry_bytes != UInt32(entryBytes)
            {
                note("section \(name) has no sound place or entry size", at: place, lost: min(entry.capacity, length))
                continue
            }
            let size = UInt64(entryBytes)
            let room = entry.capacity / size
            let handedOut = min(entry.used, room)
            let ready = entry.ready_bytes / size
            let inFile = entry.offset < length ? (length - entry.offset) / size : 0
            // A running image may hand out entries that found no space; they are no damage. Elsewhere all
            // that was handed out must be there.
            if kind != .running && (entry.used > room || entry.used > ready) {
                note("section \(name) is smaller than its entries", at: place)
            }
            let wanted = min(handedOut, ready)
            if wanted > inFile {
                note("cut off inside section \(name)", at: length, lost: (wanted - inFile) &* size)
            } else if end > length && kind != .running {
                note("section \(name) ends after the file", at: place)
            }
            section.readableEntries = Int(clamping: min(wanted, inFile))
            section.roomEntries = Int(clamping: room)
            claimed = claimed.addingReportingOverflow(UInt64(section.readableEntries) &* size).partialValue
        }
        // A sparse file of a few blocks can claim to be of any size. Readable entries cost us memory, so
        // the storage behind the file must bear them out; 256 leaves room for file systems that compress.
        if claimed / 256 > source.storedBytes.addingReportingOverflow(1 << 20).partialValue {
            throw InputError(
                file: file, offset: UInt64(tableOffset),
                what: "claims \(claimed) bytes, where \(source.storedBytes) are stored")
        }
        sections = placed
    }
}

/// The sections' numbers and names in messages.
package enum SectionName: Int {
    case strings, modules, nodes, stacks, threads, events, timeline, pieces, slots, blocks, names, verdicts, details

    static let texts = [
        "STRINGS", "MODULES", "NODES", "STACKS", "THREADS", "EVENTS", "TIMELINE", "PIECES", "SLOTS", "BLOCKS", "NAMES",
        "VERDICTS", "DETAILS",
    ]

    var name: String { Self.texts[rawValue] }
}
