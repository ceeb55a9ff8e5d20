// Packing: a dense image from any image, in one pass over each section.
//
// The copy says the same as the source, but settled: reallocations in flight are decided and are among the blocks, the
// rings are folded into the counters, peak and snapshots are written out. Strings and modules keep their numbers; names
// are added after them. Nodes and stacks keep their numbers, too, unless many stacks hold nothing any more: these
// become one row (PackedStacks). The copy always has today's version. The source is never changed.

import CHeapImage
import Glibc
import SystemPackage
import Text

/// What a packed image should say that the source does not.
package struct PackOptions {
    /// How the program ended, if the caller saw it.
    package var state: HeapImage.State?
    package var exitStatus: UInt32?
    package var exitSignal: UInt32?
    /// When the caller saw the program end, by CLOCK_MONOTONIC. The image itself only knows the last event, which may
    /// be long before.
    package var endedMonotonicNanoseconds: UInt64?
    /// The resident set, measured from outside.
    package var rssBytes: UInt64?
    package var rssPeakBytes: UInt64?
    /// The same by kind of mapping.
    package var residence: heap_residence?
    /// Every stack keeps its row. Otherwise many stacks that hold nothing any more become one row.
    package var keepsAllStacks = false
    /// The frames' names to store; nil: those of the source.
    package var names: [StoredFrame]?
    /// The verdict to store with the blocks; nil: that of the source.
    package var verdict: VerdictToStore?
    /// Leaves out the program's arguments and all directories; see Redaction.swift.
    package var isRedacted = false
    /// The pages in memory at the end, in order of address; nil: those of the source.
    package var pages: [Range<UInt64>]?

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
    /// The complete census, for a report without reading again.
    package var census: Census
    /// Names that there was no space for.
    package var namesLeftOut = 0
}

extension HeapImage {
    /// Writes a dense copy to `path`: a dump if the program runs, a packed image if it is gone.
    ///
    /// The file appears whole or not at all, with mode 0600, and never replaces another.
    ///
    /// - Throws: `FileError`, with EEXIST if `path` is taken, so that the caller can choose the next name; `InputError`
    ///   if the source can't be read.
    /// - Complexity: O(image) time, O(stacks) memory.
    @discardableResult
    package func pack(to path: String, options: PackOptions = PackOptions()) throws -> PackSummary {
        // Checked first because a large image takes a while. The link at the end decides.
        if path.withPath({ access($0, F_OK) }) == 0 {
            throw FileError(path: path, what: "can't be created", errno: .fileExists)
        }
        return try pack(into: NewFile(path: path, position: UInt64(MemoryLayout<heap_header>.size)), options)
    }

    /// The same, to an open descriptor, which may be a pipe. The copy is first completed in a file without a name.
    @discardableResult
    package func pack(
        toDescriptor descriptor: CInt, name: String, options: PackOptions = PackOptions()
    ) throws -> PackSummary {
        let out = try NewFile(copiedTo: descriptor, name: name, position: UInt64(MemoryLayout<heap_header>.size))
        return try pack(into: out, options)
    }

    /// The same, into an open file without a name, which stays open.
    func pack(toUnnamed descriptor: CInt) throws {
        var options = PackOptions()
        options.keepsAllStacks = true
        _ = try pack(
            into: NewFile(unnamed: descriptor, name: file, position: UInt64(MemoryLayout<heap_header>.size)), options)
    }

    private func pack(into out: NewFile, _ options: PackOptions) throws -> PackSummary {
        let running = kind == .running && presence == .running
        let began = nanosecondsSinceStart()
        // Before the stacks that they name.
        let (mappingSums, poolSums, requestSums, mappings) = withFreshSections {
            (self.mappingSums(), self.poolSums() ?? PoolSums(), self.requestSums(), self.mappingsAndPools())
        }

        var options = options
        var redacted: RedactedStrings?
        if options.isRedacted {
            redacted = RedactedStrings(self)
            options.names = options.names.map(Redaction.redacted) ?? redactedNames()
            options.verdict = options.verdict.map(Redaction.redacted)
        }
        // The marks keep their place after the header.
        var marks = options.isRedacted ? Redaction.redacted(marks: rawMarks()) : rawMarks()
        if !marks.isEmpty {
            marks += [UInt8](repeating: 0, count: Int(HEAP_PAGE_BYTES - HEAP_MARKS_OFFSET) - marks.count)
            let gap = [UInt8](repeating: 0, count: Int(HEAP_MARKS_OFFSET) - Int(out.position))
            for part in [gap, marks] { try part.withUnsafeBytes { try out.write($0) } }
        }
        var layout = Layout()
        layout.begin(.blocks, at: out.position)
        var verdict = options.verdict.map { VerdictSection($0) }
        let census = try storedCensus { batch in
            for index in batch.indices {
                let block = batch[index]
                verdict?.add(block)
                try out.write(
                    value: heap_block(
                        address: block.address, slot: heap_slot_make(block.stack, block.tick, 0), bytes: block.bytes))
            }
        }
        layout.end(.blocks, at: out.position)
        if let mappingSums {
            layout.begin(.pieces, at: out.position, entryBytes: MemoryLayout<heap_mapping>.size)
            try out.write(value: mappingSums.stored)
            try out.write(value: poolSums.stored)
            for mapping in mappings { try out.write(value: mapping.stored) }
            if let requestSums { try out.write(value: requestSums.stored) }
            layout.end(.pieces, at: out.position)
        }
        // A verdict and mappings name stacks by their numbers.
        let keepsAll = options.keepsAllStacks || verdict != nil || hasVerdict || hasMappings
        let kept = keepsAll ? PackedStacks() : PackedStacks(self, census, snapshots: snapshotCount)
        if kept.numbers != nil { try renumberBlocks(layout.range(.blocks), kept, in: out) }
        var header = self.header
        redacted?.redact(&header)
        let modules = redacted?.modules(), frames = redacted?.frames() ?? [:]
        let storedVerdicts = hasVerdict && verdict == nil ? redacted?.verdicts() : nil
        var names: NameSection?
        try copy(.strings, replacedBy: redacted?.bytes, to: out, &layout) { count in
            names = options.names.map { NameSection($0, firstOffset: count) }
            let added = names?.strings ?? []
            verdict?.finish(firstOffset: count + UInt64(added.count))
            return added + (verdict?.strings ?? [])
        }
        if let names {
            try write(names.entries, as: .names, to: out, &layout)
        } else if hasNames {
            try copy(.names, to: out, &layout)
        }
        if let verdict {
            try write(verdict.entries, as: .verdicts, to: out, &layout)
        } else if let storedVerdicts {
            try write(storedVerdicts, as: .verdicts, to: out, &layout)
        } else if hasVerdict {
            try copy(.verdicts, to: out, &layout)
        }
        if let pages = options.pages {
            layout.begin(.slots, at: out.position, entryBytes: MemoryLayout<heap_run>.size)
            for run in pages {
                try out.write(value: heap_run(start: run.lowerBound, bytes: run.upperBound - run.lowerBound))
            }
            layout.end(.slots, at: out.position)
        } else if hasPages {
            try copy(.slots, to: out, &layout)
        }
        if let modules {
            try write(modules, as: .modules, to: out, &layout)
        } else {
            try copy(.modules, to: out, &layout)
        }
        if kept.numbers == nil && frames.isEmpty {
            try copy(.nodes, to: out, &layout)
        } else {
            try writeNodes(kept, frames, to: out, &layout)
        }
        try copy(.timeline, to: out, &layout)
        try writeStacks(census, kept, to: out, &layout)
        try writeThreads(kept, to: out, &layout)

        header.version = HEAP_VERSION
        header.header_bytes = UInt32(MemoryLayout<heap_header>.size)
        header.gone_stacks &+= kept.goneCount
        header.kind = kind == .dump || running ? HEAP_KIND_DUMP.rawValue : HEAP_KIND_PACKED.rawValue
        header.flags |= HEAP_FLAG_IN_FLIGHT_SETTLED.rawValue
        header.flags &= ~HEAP_FLAG_NAMES.rawValue
        header.flags &= ~HEAP_FLAG_VERDICT.rawValue
        if verdict != nil || hasVerdict { header.flags |= HEAP_FLAG_VERDICT.rawValue }
        header.flags &= ~HEAP_FLAG_PAGES.rawValue
        if options.pages != nil || hasPages { header.flags |= HEAP_FLAG_PAGES.rawValue }
        if mappingSums == nil { header.flags &= ~HEAP_FLAG_MAPPINGS.rawValue }
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
            path: out.path, fileBytes: bytes, liveBytes: census.liveBytes, liveBlocks: wholeBlocks(census.liveBlocks),
            census: wholeBlocks(census),
            namesLeftOut: names?.leftOut ?? 0)
    }

    /// Packs into `directory`, under the first free name of `name(1)`, `name(2)`, …
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

    private func write<Entry: BitwiseCopyable>(
        _ entries: [Entry], as name: SectionName, to out: NewFile, _ layout: inout Layout
    ) throws {
        layout.begin(name, at: out.position)
        for entry in entries { try out.write(value: entry) }
        layout.end(name, at: out.position)
    }

    /// Copies a section, or writes `bytes` in its place, and appends what `more` returns for its size.
    private func copy(
        _ name: SectionName, replacedBy bytes: [UInt8]? = nil, to out: NewFile, _ layout: inout Layout,
        adding more: (_ byteCount: UInt64) -> [UInt8] = { _ in [] }
    ) throws {
        let start = out.position
        layout.begin(name, at: start, entryBytes: sections[name.rawValue].entryBytes)
        if let bytes {
            try bytes.withUnsafeBytes { try out.write($0) }
        } else {
            try forEachChunk(of: name) { bytes, _ in
                try bytes.withUnsafeBytes { try out.write($0) }
                return true
            }
        }
        try more(out.position - start).withUnsafeBytes { try out.write($0) }
        layout.end(name, at: out.position)
        while out.position % 8 != 0 { try out.write(value: UInt8(0)) }
    }

    private func renumberBlocks(_ range: Range<UInt64>, _ kept: PackedStacks, in out: NewFile) throws {
        let size = MemoryLayout<heap_block>.size, place = MemoryLayout<heap_block>.offset(of: \.slot) ?? 8
        try out.rewrite(range, entryBytes: size) { bytes in
            for entry in stride(from: 0, to: bytes.count, by: size) {
                let slot = bytes.loadUnaligned(fromByteOffset: entry + place, as: UInt64.self)
                bytes.storeBytes(of: kept.slot(slot), toByteOffset: entry + place, as: UInt64.self)
            }
        }
    }

    /// - Parameter frames: those that are another in the copy.
    private func writeNodes(
        _ kept: PackedStacks, _ frames: [UInt64: UInt64], to out: NewFile, _ layout: inout Layout
    ) throws {
        let size = MemoryLayout<heap_node>.size, keepsAll = kept.numbers == nil
        layout.begin(.nodes, at: out.position)
        try forEachChunk(of: .nodes) { bytes, first in
            for index in 0 ..< bytes.byteCount / size {
                var node = bytes.unsafeLoadUnaligned(fromByteOffset: index * size, as: heap_node.self)
                if let other = frames[node.frame] { node.frame = other }
                if !keepsAll {
                    guard first + index < kept.keptNodes.count, kept.keptNodes[first + index] else { continue }
                    node.parent = node.parent < UInt32(first + index) ? kept.nodeNumber(of: node.parent) : 0
                    // A stack that was left out no longer ends here.
                    let stack = kept.number(of: node.stack)
                    node.stack = stack == kept.goneNumber ? 0 : stack
                }
                try out.write(value: node)
            }
            return true
        }
        if !keepsAll {
            try out.write(value: heap_node(frame: PackedStacks.goneFrame, parent: 0, stack: kept.goneNumber ?? 0))
        }
        layout.end(.nodes, at: out.position)
    }

    private func writeStacks(
        _ census: Census, _ kept: PackedStacks, to out: NewFile, _ layout: inout Layout
    ) throws {
        let snapshots = snapshotCount, levels = heap_levels(header.peak_epoch, UInt32(snapshots))
        var replayed: [UInt32: [(lifetime: Int, blocks: UInt64)]] = [:]
        for free in census.replayedFrees {
            replayed[free.stack, default: []].append(
                (Int(heap_lifetime_of_milliseconds(free.milliseconds)), free.blocks))
        }
        var details = PackedDetails()
        var failure: (any Error)?
        layout.begin(.stacks, at: out.position)
        forEachStack { number, stack in
            guard failure == nil,
                number < 2 || kept.goneNumber == nil || kept.number(of: UInt32(number)) != kept.goneNumber
            else { return }
            var entry = heap_stack()
            entry.node = kept.nodeNumber(of: stack.node)
            if number > 0 && number < census.stacks.count {
                let counts = census.stacks[number]
                entry.levels = levels
                entry.allocated_blocks = counts.allocatedBlocks
                entry.allocated_bytes = counts.allocatedBytes
                entry.freed_blocks = counts.freedBlocks
                entry.freed_bytes = counts.freedBytes
                entry.temporary_blocks = counts.temporaryBlocks
                // A level that is not copied yet is what the folded counters say.
                var lifetimes = (0 ..< LifetimeClass.count).map { stack.blocks(ofLifetime: $0) }
                for (lifetime, blocks) in replayed[UInt32(number)] ?? [] where lifetime > 0 {
                    lifetimes[lifetime] &+= blocks
                }
                details.add(
                    to: &entry, peak: counts.peak, levels: (0 ..< snapshots).map { stack.level($0) },
                    lifetimes: lifetimes)
            }
            do { try out.write(value: entry) } catch { failure = error }
        }
        if let failure { throw failure }
        if kept.goneNumber != nil {
            var entry = heap_stack()
            entry.node = kept.goneNode
            entry.levels = levels
            entry.allocated_blocks = kept.gone.allocatedBlocks
            entry.allocated_bytes = kept.gone.allocatedBytes
            entry.freed_blocks = kept.gone.freedBlocks
            entry.freed_bytes = kept.gone.freedBytes
            entry.temporary_blocks = kept.gone.temporaryBlocks
            details.add(to: &entry, peak: Level(), levels: [], lifetimes: kept.goneLifetimes)
            try out.write(value: entry)
        }
        layout.end(.stacks, at: out.position)
        layout.begin(.details, at: out.position)
        for entry in details.entries { try out.write(value: entry) }
        layout.end(.details, at: out.position)
    }

    /// Writes the threads. Their rings keep the last events: all are folded, none is uncommitted.
    private func writeThreads(_ kept: PackedStacks, to out: NewFile, _ layout: inout Layout) throws {
        var heads: [UInt64] = []
        layout.begin(.threads, at: out.position)
        try forEachChunk(of: .threads) { bytes, _ in
            for index in 0 ..< bytes.byteCount / MemoryLayout<heap_thread>.size {
                var thread = bytes.unsafeLoadUnaligned(
                    fromByteOffset: index * MemoryLayout<heap_thread>.size, as: heap_thread.self)
                thread.folded = thread.head
                thread.pending_bytes = 0
                thread.in_flight = heap_in_flight()
                thread.mapped_word = kept.slot(thread.mapped_word)
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
                let ahead = heap_event_sequence(event.tag) &- UInt32(truncatingIfNeeded: heads[ring])
                if ahead < 0x8000_0000 { event = heap_event() }
                event.slot = kept.slot(event.slot)
                try out.write(value: event)
            }
            return true
        }
        layout.end(.events, at: out.position)
    }
}

/// Where the sections of the dense image are.
private struct Layout {
    private var ranges = [Range<UInt64>?](repeating: nil, count: Int(HEAP_SECTION_COUNT.rawValue))
    private var entryBytes = HeapImage.entryBytes

    /// - Parameter entryBytes: of what stands in the place of a section that only running images have.
    mutating func begin(_ name: SectionName, at position: UInt64, entryBytes: Int? = nil) {
        ranges[name.rawValue] = position ..< position
        if let entryBytes { self.entryBytes[name.rawValue] = entryBytes }
    }

    mutating func end(_ name: SectionName, at position: UInt64) {
        ranges[name.rawValue] = (ranges[name.rawValue]?.lowerBound ?? position) ..< position
    }

    func range(_ name: SectionName) -> Range<UInt64> { ranges[name.rawValue] ?? 0 ..< 0 }

    func place(in header: inout heap_header, end: UInt64) {
        withUnsafeMutableBytes(of: &header.sections) { bytes in
            for index in ranges.indices {
                let size = MemoryLayout<heap_section>.size
                let range = ranges[index] ?? end ..< end
                let entry = UInt32(entryBytes[index])
                let count = UInt64(range.count)
                let section = heap_section(
                    offset: (range.lowerBound + 7) & ~7, capacity: count, used: entry == 0 ? 0 : count / UInt64(entry),
                    ready_bytes: count, entry_bytes: entry, reserved: 0)
                bytes.storeBytes(of: section, toByteOffset: index * size, as: heap_section.self)
            }
        }
    }
}
