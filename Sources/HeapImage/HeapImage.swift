// The reader of one heap image: checks its header and finds its sections.
//
// Invariant: `sections[i].readableEntries` entries of section i lie inside the file and inside what the recorder made
// ready, so no read goes past either. Every value is checked before it is used, and no memory is allocated by a count
// that the file's size does not justify. Only one thread at a time may use a HeapImage.

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
    /// Entries that the section has room for: no valid index exceeds it, even if the program goes on meanwhile.
    package var roomEntries = 0
}

/// A heap image, opened for reading.
package final class HeapImage {
    package let source: any ByteSource
    /// The header, as last read; `refresh()` reads it again.
    package private(set) var header: heap_header
    package private(set) var sections: [ImageSection]
    /// The damages in the order of discovery, one entry for each kind.
    package private(set) var damages: [Damage] = []
    private var presenceKnown: Presence?

    /// The source's name in messages.
    package var file: String { source.name }
    package var damaged: Bool { !damages.isEmpty }

    /// Opens the image at `path`, a file; `-` is standard input.
    ///
    /// - Throws: `InputError` if it can't be opened, is not a heap image, or has another version.
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

    /// Opens the image in `source`. `presence` says whether the program still runs, if the caller knows; else /proc is
    /// asked when it matters.
    ///
    /// - Throws: `InputError` if nothing in it can be used.
    package init(_ source: any ByteSource, presence: Presence? = nil) throws(InputError) {
        self.source = source
        self.presenceKnown = presence
        header = try Self.readHeader(source)
        sections = []
        try placeSections()
    }

    /// Reads the header again: a running program's sections keep growing.
    package func refresh() throws(InputError) {
        header = try Self.readHeader(source)
        try placeSections()
    }

    /// Calls `body` with the sections as they are now, if they can be read. Afterwards the image has its earlier
    /// sections again.
    func withFreshSections<Result>(_ body: () -> Result) -> Result {
        let before = (header, sections)
        try? refresh()
        defer { (header, sections) = before }
        return body()
    }

    /// Whether the heap's program still runs. /proc is asked once.
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

    /// Adds to the list of damages. A further damage of the same kind only increases its count.
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
        mappingEntryBytes(section) ?? pageEntryBytes(section) ?? fixedEntryBytes(section)
    }

    private func fixedEntryBytes(_ section: Int) -> Int {
        section == SectionName.stacks.rawValue && header.version == HEAP_VERSION_1
            ? MemoryLayout<heap_stack_1>.size : Self.entryBytes[section]
    }

    /// Whether there is a section NAMES: only in dense images that say so. Other images have a section of the
    /// recorder's in its place.
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
            // The recorder's own sections mean nothing to a reader. A running image has RANGES in the place of BLOCKS,
            // and nothing in it without the hooks (HEAPSUM_MAPPINGS without libheapsum-mappings.so).
            if (index == SectionName.names.rawValue && !hasNames)
                || (index == SectionName.blocks.rawValue && kind == .running && !hasMappings)
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
                note(
                    "section \(name) has an impossible place or entry size", at: place,
                    lost: min(entry.capacity, length))
                continue
            }
            let size = UInt64(entryBytes)
            let room = entry.capacity / size
            let handedOut = min(entry.used, room)
            let ready = entry.ready_bytes / size
            let inFile = entry.offset < length ? (length - entry.offset) / size : 0
            // A running image may have handed out entries that found no space; that is no damage. In other images all
            // entries must be there.
            if kind != .running && (entry.used > room || entry.used > ready) {
                note("section \(name) has more entries than room for them", at: place)
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
        // A sparse file with a few blocks can claim any size. Readable entries cost memory, so the file's storage must
        // justify them. The factor 256 allows for file systems that compress.
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
