// Packing: a dense image from any image, in one pass over each section.
//
// What comes out says the same as what went in, settled: reallocations in flight are decided and stand
// among the blocks, the rings are folded into the counters, peak and snapshots are written out. Indexes
// (of strings, modules, nodes, stacks) stay what they were; names are added behind. The source is never changed.

import CHeapImage
import Glibc
import SystemPackage
import Text

/// What a packed image should say that the source does not.
package struct PackOptions {
    /// How the program ended, where the caller saw it.
    package var state: HeapImage.State?
    package var exitStatus: UInt32?
    package var exitSignal: UInt32?
    /// When the caller saw the program end, by CLOCK_MONOTONIC: an image alone knows of the last event, which may be
    /// long before.
    package var endedMonotonicNanoseconds: UInt64?
    /// The resident set, as it was measured from outside.
    package var rssBytes: UInt64?
    package var rssPeakBytes: UInt64?
    /// The same by kind of mapping.
    package var residence: heap_residence?
    /// The frames' names, to be stored with them; nil: those that the source has.
    package var names: [StoredFrame]?
    /// Who is lost and who is held, to be stored with the blocks; nil: what the source has of it.
    package var verdict: VerdictToStore?

    package init(
        state: HeapImage.State? = nil, exitStatus: UInt32? = nil, exitSignal: UInt32? = nil,
        rssBytes: UInt64? = nil, rssPeakBytes: UInt64? = nil
    ) {
        self.state = state
        self.exitStatus = exitStatus
        self.exitSignal = exitSignal
        self.rssBytes = rssBytes
        self.rssPeakBytes = rssPeakBytes
    }
}

/// What was packed.
package struct PackSummary {
    package var path: String
    package var fileBytes: UInt64
    package var liveBytes: UInt64
    package var liveBlocks: UInt64
    /// The whole count, for a report without reading again.
    package var census: Census
    /// Names that found no place.
    package var namesLeftOut = 0
}

extension HeapImage {
    /// Writes a dense copy to `path`: a dump where the program runs, a packed image where it is gone.
    ///
    /// The file appears whole or not at all, 0600, and never takes another's place.
    ///
    /// - Throws: `FileError`, with EEXIST where `path` is taken, so that the caller can choose the next
    ///   name; `InputError` where the source can't be read.
    /// - Complexity: O(image) time, O(stacks) memory.
    @discardableResult
    package func pack(to path: String, options: PackOptions = PackOptions()) throws -> PackSummary {
        // Looked for first, since a large image takes a while; the rename decides.
        if path.withPath({ access($0, F_OK) }) == 0 {
            throw FileError(path: path, what: "can't be created", errno: .fileExists)
        }
        return try pack(into: NewFile(path: path, position: UInt64(MemoryLayout<heap_header>.size)), options)
    }

    /// The same to an open descriptor, which may be a pipe: the whole copy is made first, in a file without a name.
    @discardableResult
    package func pack(
        toDescriptor descriptor: CInt, name: String, options: PackOptions = PackOptions()
    ) throws -> PackSummary {
        let out = try NewFile(copiedTo: descriptor, name: name, position: UInt64(MemoryLayout<heap_header>.size))
        return try pack(into: out, options)
    }

    /// The same into a file without a name, which is open and stays so.
    func pack(toUnnamed descriptor: CInt) throws {
        _ = try pack(
            into: NewFile(unnamed: descriptor, name: file, position: UInt64(MemoryLayout<heap_header>.size)),
            PackOptions())
    }

    private func pack(into out: NewFile, _ options: PackOptions) throws -> PackSummary {
        let running = kind == .running && presence == .running
        let began = nanosecondsSinceStart()

        // The marks keep their place, behind the header.
        var marks = rawMarks()
        if !marks.isEmpty {
            marks += [UInt8](repeating: 0, count: Int(HEAP_PAGE_BYTES - HEAP_MARKS_OFFSET) - marks.count)
            let gap = [UInt8](repeating: 0, count: Int(HEAP_MARKS_OFFSET) - Int(out.position))
            for part in [gap, marks] { try part.withUnsafeBytes { try out.write($0) } }
        }
        var layout = Layout()
        layout.begin(.blocks, at: out.position)
        var verdict = options.verdict.map { VerdictSection($0) }
        let census = try census { batch in
            for index in batch.indices {
                let block = batch[index]
                verdict?.add(block)
                try out.write(
                    value: heap_block(
                        address: block.address, slot: heap_slot_make(block.stack, block.tick, 0), bytes: block.bytes))
            }
        }
        layout.end(.blocks, at: out.position)
        var names: NameSection?
        try copy(.strings, to: out, &layout) { count in
            names = options.names.map { NameSection($0, firstOffset: count) }
            let added = names?.strings ?? []
            verdict?.finish(firstOffset: count + UInt64(added.count))
            return added + (verdict?.strings ?? [])
        }
        if let names {
            layout.begin(.names, at: out.position)
            for entry in names.entries { try out.write(value: entry) }
            layout.end(.names, at: out.position)
        } else if hasNames {
            try copy(.names, to: out, &layout)
        }
        if let verdict {
            layout.begin(.verdicts, at: out.position)
            for entry in verdict.entries { try out.write(value: entry) }
            layout.end(.verdicts, at: out.position)
        } else if hasVerdict {
            try copy(.verdicts, to: out, &layout)
        }
        try copy(.modules, to: out, &layout)
        try copy(.nodes, to: out, &layout)
        try copy(.timeline, to: out, &layout)
        try writeStacks(census, to: out, &layout)
        try writeThreads(to: out, &layout)

        var header = self.header
        header.kind = kind == .dump || running ? HEAP_KIND_DUMP.rawValue : HEAP_KIND_PACKED.rawValue
        header.flags |= HEAP_FLAG_IN_FLIGHT_SETTLED.rawValue
        header.flags &= ~HEAP_FLAG_NAMES.rawValue
        header.flags &= ~HEAP_FLAG_VERDICT.rawValue
        if verdict != nil || hasVerdict { header.flags |= HEAP_FLAG_VERDICT.rawValue }
        if marks.isEmpty { header.flags &= ~HEAP_FLAG_MARKS.rawValue }
        if options.names != nil || hasNames { header.flags |= HEAP_FLAG_NAMES.rawValue }
        if kind == .running {
            let last = max(
                census.momentNanoseconds, options.endedMonotonicNanoseconds.map { nanosecondsSinceStart($0) } ?? 0)
            header.began_ns = running ? began : last
            header.ended_ns = running ? nanosecondsSinceStart() : last
        }
        header.state = (options.state ?? effectiveState).rawValue
        if let status = options.exitStatus { header.exit_status = status }
        if let signal = options.exitSignal { header.exit_signal = signal }
        if let bytes = options.rssBytes { header.rss_bytes = bytes }
        if let bytes = options.rssPeakBytes { header.rss_peak_bytes = bytes }
        if let residence = options.residence { header.residence = residence }
        header.live_bytes = census.liveBytes
        header.live_blocks = census.liveBlocks
        header.peak_bytes = census.peak.bytes
        header.peak_blocks = census.peak.blocks
        header.losses.lost_records = census.lostRecords
        layout.place(in: &header, end: out.position)
        let bytes = out.position
        try out.commit(header: header)
        return PackSummary(
            path: out.path, fileBytes: bytes, liveBytes: census.liveBytes, liveBlocks: census.liveBlocks,
            census: census,
            namesLeftOut: names?.leftOut ?? 0)
    }

    /// Packs into `directory` under the first name of `name(1)`, `name(2)`, … that is free.
    package func pack(
        into directory: String, options: PackOptions = PackOptions(), name: (Int) -> String
    ) throws -> PackSummary {
        let prefix = directory.isEmpty ? "" : directory.hasSuffix("/") ? directory : directory + "/"
        var attempt = 1
        while true {
            do {
                return try pack(to: prefix + name(attempt), options: options)
            } catch let error as FileError where error.errno == .fileExists && attempt < 100_000 {
                attempt += 1
            }
        }
    }

    /// Copies a section, and puts behind it what `more` makes of its size.
    private func copy(
        _ name: SectionName, to out: NewFile, _ layout: inout Layout,
        adding more: (_ byteCount: UInt64) -> [UInt8] = { _ in [] }
    ) throws {
        let start = out.position
        layout.begin(name, at: start)
        try forEachChunk(of: name) { bytes, _ in
            try bytes.withUnsafeBytes { try out.write($0) }
            return true
        }
        try more(out.position - start).withUnsafeBytes { try out.write($0) }
        layout.end(name, at: out.position)
        while out.position % 8 != 0 { try out.write(value: UInt8(0)) }
    }

    private func writeStacks(_ census: Census, to out: NewFile, _ layout: inout Layout) throws {
        let epoch = header.peak_epoch
        let snapshots = snapshotCount
        var lifetimes: [UInt32: [Int]] = [:]
        for free in census.replayedFrees {
            lifetimes[free.stack, default: []].append(Int(heap_lifetime_of_milliseconds(free.milliseconds)))
        }
        layout.begin(.stacks, at: out.position)
        try forEachChunk(of: .stacks) { bytes, first in
            for index in 0 ..< bytes.byteCount / MemoryLayout<heap_stack>.size {
                var stack = bytes.unsafeLoadUnaligned(
                    fromByteOffset: index * MemoryLayout<heap_stack>.size, as: heap_stack.self)
                let number = first + index
                if number > 0 && number < census.stacks.count {
                    let counts = census.stacks[number]
                    // Before the counters change, since what is not copied yet is what they say.
                    for snapshot in min(Int(clamping: stack.snapshots), snapshots) ..< snapshots {
                        stack.setLevel(snapshot, stack.held)
                    }
                    stack.snapshots = UInt32(snapshots)
                    stack.peak_epoch = epoch
                    stack.peak = heap_level(bytes: counts.peak.bytes, blocks: counts.peak.blocks)
                    stack.allocated_blocks = counts.allocatedBlocks
                    stack.allocated_bytes = counts.allocatedBytes
                    stack.freed_blocks = counts.freedBlocks
                    stack.freed_bytes = counts.freedBytes
                    stack.temporary_blocks = counts.temporaryBlocks
                    for lifetime in lifetimes[UInt32(number)] ?? [] { stack.addLifetime(lifetime) }
                }
                try out.write(value: stack)
            }
            return true
        }
        layout.end(.stacks, at: out.position)
    }

    /// Threads with their rings as flight recorders: nothing unfolded, nothing uncommitted.
    private func writeThreads(to out: NewFile, _ layout: inout Layout) throws {
        var heads: [UInt64] = []
        layout.begin(.threads, at: out.position)
        try forEachChunk(of: .threads) { bytes, _ in
            for index in 0 ..< bytes.byteCount / MemoryLayout<heap_thread>.size {
                var thread = bytes.unsafeLoadUnaligned(
                    fromByteOffset: index * MemoryLayout<heap_thread>.size, as: heap_thread.self)
                thread.folded = thread.head
                thread.pending_bytes = 0
                thread.in_flight = heap_in_flight()
                heads.append(thread.head)
                try out.write(value: thread)
            }
            return true
        }
        layout.end(.threads, at: out.position)
        layout.begin(.events, at: out.position)
        let eventBytes = MemoryLayout<heap_event>.size
        let perRing = Int(HEAP_RING_EVENTS)
        try forEachChunk(of: .events) { bytes, first in
            for index in 0 ..< bytes.byteCount / eventBytes {
                let ring = first + index / perRing
                guard ring < heads.count else { return false }
                var event = bytes.unsafeLoadUnaligned(fromByteOffset: index * eventBytes, as: heap_event.self)
                let ahead = heap_event_sequence(event.mark) &- UInt32(truncatingIfNeeded: heads[ring])
                if ahead < 0x8000_0000 { event = heap_event() }
                try out.write(value: event)
            }
            return true
        }
        layout.end(.events, at: out.position)
    }
}

/// Where the sections of a dense image came to lie.
private struct Layout {
    private var ranges = [Range<UInt64>?](repeating: nil, count: Int(HEAP_SECTION_COUNT.rawValue))

    mutating func begin(_ name: SectionName, at position: UInt64) { ranges[name.rawValue] = position ..< position }
    mutating func end(_ name: SectionName, at position: UInt64) {
        ranges[name.rawValue] = (ranges[name.rawValue]?.lowerBound ?? position) ..< position
    }

    func place(in header: inout heap_header, end: UInt64) {
        withUnsafeMutableBytes(of: &header.sections) { bytes in
            for index in ranges.indices {
                let size = MemoryLayout<heap_section>.size
                let old = bytes.loadUnaligned(fromByteOffset: index * size, as: heap_section.self)
                let range = ranges[index] ?? end ..< end
                let entry = index < HeapImage.entryBytes.count ? UInt32(HeapImage.entryBytes[index]) : old.entry_bytes
                let count = UInt64(range.count)
                let section = heap_section(
                    offset: (range.lowerBound + 7) & ~7, capacity: count, used: entry == 0 ? 0 : count / UInt64(entry),
                    ready_bytes: count, entry_bytes: entry, reserved: 0)
                bytes.storeBytes(of: section, toByteOffset: index * size, as: heap_section.self)
            }
        }
    }
}

extension heap_stack {
    mutating func setLevel(_ number: Int, _ level: Level) {
        withUnsafeMutableBytes(of: &levels) {
            $0.storeBytes(
                of: heap_level(bytes: level.bytes, blocks: level.blocks),
                toByteOffset: number * MemoryLayout<heap_level>.size, as: heap_level.self)
        }
    }

    /// Lifetime 0 has no counter: it is what the others leave of the frees.
    mutating func addLifetime(_ lifetime: Int) {
        guard lifetime > 0 else { return }
        withUnsafeMutableBytes(of: &lifetimes) {
            let offset = (lifetime - 1) * MemoryLayout<UInt64>.size
            $0.storeBytes(
                of: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self) &+ 1, toByteOffset: offset,
                as: UInt64.self)
        }
    }
}
