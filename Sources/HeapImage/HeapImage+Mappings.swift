// What the program maps itself, from both shapes of image: a tree of pages while it runs, a list in a dense image.
//
// Invariant: the mappings come in order of address and don't overlap, whatever the file says: a node of the tree counts
// once, and a list out of order is damage. One of the files with raw pointers.

import CHeapImage

/// Neighbouring pages of one mapping of the program.
package struct ProgramMapping: Equatable, Sendable {
    package enum Kind: UInt32, CaseIterable, Sendable {
        case anonymous = 1, sharedAnonymous, stack, file, sharedFile, memfd, sharedMemory, heapBreak, device
        case pool = 30, allocator = 31

        /// For programs and people.
        package var name: String {
            switch self {
            case .anonymous: "anonymous"
            case .sharedAnonymous: "shared anonymous"
            case .stack: "stack"
            case .file: "file"
            case .sharedFile: "shared file"
            case .memfd: "memfd"
            case .sharedMemory: "shared memory"
            case .heapBreak: "break"
            case .device: "device"
            case .pool: "pool"
            case .allocator: "allocator's"
            }
        }
    }

    package var range: Range<UInt64>
    package var stack: UInt32
    package var tick: UInt32
    /// Of kind `pool`: not a mapping, but a block of a pool, which lies in a mapping or in malloc's memory.
    package var isPools: Bool { kind == .pool }
    /// The number of the call that mapped it; parts of one call's mapping have the same.
    package var birth: UInt64
    package var kind: Kind
    /// Mapped without access, as address space for later.
    package var isReserved = false

    package var bytes: UInt64 { range.upperBound - range.lowerBound }
}

/// What was counted of calls that map.
package struct MappingSums: Equatable, Sendable {
    package var calls: UInt64 = 0
    /// Calls that found no space in the image, and the bytes of theirs that are booked wrongly.
    package var lostCalls: UInt64 = 0
    package var lostBytes: UInt64 = 0
    /// The most that the program had mapped itself.
    package var peakBytes: UInt64 = 0
    /// Given back by madvise, in all.
    package var discardedBytes: UInt64 = 0
    package var discards: UInt64 = 0
}

/// What was counted of the program's pools (heapsum_pool_allocated).
package struct PoolSums: Equatable, Sendable {
    package var allocatedBlocks: UInt64 = 0
    package var allocatedBytes: UInt64 = 0
    package var freedBlocks: UInt64 = 0
    package var freedBytes: UInt64 = 0
    /// Not booked: there was no space, or another block in the same 16 bytes.
    package var lostBlocks: UInt64 = 0
    package var unmatchedFrees: UInt64 = 0
}

/// What was counted of Valgrind's client requests (heaprun --valgrind-requests).
package struct RequestSums: Equatable, Sendable {
    /// Places in the program's code that lead to the recorder.
    package var places: UInt64 = 0
    /// Places that were left as they are: because they could not be changed, and because nothing says that they are
    /// code.
    package var refusedPlaces: UInt64 = 0
    package var unsurePlaces: UInt64 = 0
    /// Requests that came, of the kinds that are booked.
    package var requests: UInt64 = 0
    /// Blocks that were booked without their pool, so that they stay when it is destroyed.
    package var lostPools: UInt64 = 0
}

extension HeapImage {
    /// Whether the program's own mappings were booked (heaprun --mappings).
    package var hasMappings: Bool { hasFlag(HEAP_FLAG_MAPPINGS) }

    /// Where they are: in an entry of the table of sections that the other shape uses for something else.
    var mappingSection: SectionName { kind == .running ? .blocks : .pieces }

    /// The bytes of that section's entries; nil for another section, or an image without mappings.
    func mappingEntryBytes(_ section: Int) -> Int? {
        guard hasMappings, section == mappingSection.rawValue else { return nil }
        return kind == .running ? MemoryLayout<heap_range_node>.size : MemoryLayout<heap_mapping>.size
    }

    /// The counts; nil if mappings were not booked, or can't be read.
    ///
    /// - Complexity: O(1)
    package func mappingSums() -> MappingSums? {
        let section = sections[mappingSection.rawValue], size = MemoryLayout<heap_mapping_sums>.size
        guard hasMappings, section.readableEntries > 0 else { return nil }
        let buffer = ReadBuffer(byteCount: size)
        guard fill(buffer, size, at: section.offset, "MAPPINGS") == size else { return nil }
        let sums = buffer.bytes.loadUnaligned(as: heap_mapping_sums.self)
        return MappingSums(
            calls: sums.calls, lostCalls: sums.lost_calls, lostBytes: sums.lost_bytes, peakBytes: sums.peak_bytes,
            discardedBytes: sums.discarded_bytes, discards: sums.discards)
    }

    /// The counts of pools; nil if they were not booked, or can't be read.
    ///
    /// - Complexity: O(1)
    package func poolSums() -> PoolSums? {
        let section = sections[mappingSection.rawValue], size = MemoryLayout<heap_pool_sums>.size
        guard hasMappings, section.readableEntries > (kind == .running ? 0 : 1) else { return nil }
        let buffer = ReadBuffer(byteCount: size)
        let place = section.offset + UInt64(MemoryLayout<heap_mapping_sums>.size)
        guard fill(buffer, size, at: place, "MAPPINGS") == size else { return nil }
        let sums = buffer.bytes.loadUnaligned(as: heap_pool_sums.self)
        return PoolSums(
            allocatedBlocks: sums.allocated_blocks, allocatedBytes: sums.allocated_bytes,
            freedBlocks: sums.freed_blocks, freedBytes: sums.freed_bytes, lostBlocks: sums.lost_blocks,
            unmatchedFrees: sums.unmatched_frees)
    }

    /// The counts of Valgrind's requests; nil if they were not looked for, or can't be read.
    ///
    /// - Complexity: O(1) in a running image, else O(mappings)
    package func requestSums() -> RequestSums? {
        guard hasMappings else { return nil }
        guard kind == .running else { return requestSumsOfList() }
        let section = sections[mappingSection.rawValue], size = MemoryLayout<heap_request_sums>.size
        guard section.readableEntries > Int(HEAP_RANGE_POOL_NAMES) else { return nil }
        let buffer = ReadBuffer(byteCount: size)
        let place =
            section.offset + UInt64(MemoryLayout<heap_mapping_sums>.size + MemoryLayout<heap_pool_sums>.size)
        guard fill(buffer, size, at: place, "MAPPINGS") == size else { return nil }
        return RequestSums(buffer.bytes.loadUnaligned(as: heap_request_sums.self))
    }

    private func requestSumsOfList() -> RequestSums? {
        var found: RequestSums?
        forEachEntry(of: .pieces, as: heap_request_sums.self, from: 2) { _, entry in found = RequestSums(entry) ?? found
        }
        return found
    }

    /// The live mappings, in order of address; neighbours of one call are one. None if they were not booked.
    ///
    /// - Complexity: O(nodes) or O(mappings) time and memory
    package func mappings() -> [ProgramMapping] { mappingsAndPools().filter { !$0.isPools } }

    /// The same, and then the live blocks of pools, in order of address.
    package func mappingsAndPools() -> [ProgramMapping] {
        guard hasMappings else { return [] }
        return kind == .running ? mappingsOfTree() : mappingsOfList()
    }

    private func mappingsOfList() -> [ProgramMapping] {
        var found: [ProgramMapping] = []
        forEachEntry(of: .pieces, as: heap_mapping.self, from: 2) { number, entry in
            let (end, overflow) = entry.start.addingReportingOverflow(entry.bytes)
            guard let kind = ProgramMapping.Kind(rawValue: entry.kind) else { return }
            let last = found.last, begins = last.map { !$0.isPools && kind == .pool } ?? true
            guard !overflow, kind == .pool || entry.bytes > 0, begins || entry.start >= last?.range.upperBound ?? 0,
                begins || last?.isPools == (kind == .pool)
            else {
                note("a mapping at an impossible place", at: place(of: .pieces, number))
                return
            }
            found.append(
                ProgramMapping(
                    range: entry.start ..< end, stack: heap_slot_stack(entry.slot), tick: heap_slot_tick(entry.slot),
                    birth: entry.birth, kind: kind, isReserved: entry.flags & HEAP_MAPPING_FLAG_RESERVED != 0))
        }
        return found
    }

    private func mappingsOfTree() -> [ProgramMapping] {
        let count = sections[mappingSection.rawValue].readableEntries
        guard count > Int(HEAP_RANGE_POOLS) else { return [] }
        var walk = TreeWalk(seen: [Bool](repeating: false, count: count))
        add(node: Int(HEAP_RANGE_ROOT), level: HEAP_RANGE_LEVELS - 1, base: 0, to: &walk)
        walk.isOfPools = true
        add(node: Int(HEAP_RANGE_POOLS), level: HEAP_POOL_LEVELS - 1, base: 0, to: &walk)
        return walk.found
    }

    private struct TreeWalk {
        var seen: [Bool]
        var found: [ProgramMapping] = []
        var isOfPools = false

        /// A block that begins in a granule. One that overlaps the block before it is damage, and left out.
        mutating func add(poolAt granule: UInt64, _ word: UInt64, _ more: UInt64) {
            let start = granule << UInt64(HEAP_POOL_GRANULE_LOG2) | more & UInt64(HEAP_POOL_OFFSET_MASK)
            let end = start + more >> UInt64(HEAP_RANGE_PAGES_SHIFT)
            if let last = found.last, last.isPools, last.range.upperBound > start { return }
            found.append(
                ProgramMapping(
                    range: start ..< end, stack: heap_range_stack(word), tick: heap_range_tick(more),
                    birth: heap_range_birth(word), kind: .pool))
        }

        mutating func add(_ page: UInt64, _ pages: UInt64, _ word: UInt64, _ more: UInt64) {
            let start = page << 12, end = start + pages << 12, birth = heap_range_birth(word)
            if let last = found.last, last.range.upperBound == start, last.birth == birth {
                found[found.count - 1].range = last.range.lowerBound ..< end
                return
            }
            guard let kind = ProgramMapping.Kind(rawValue: UInt32(more & UInt64(HEAP_MAPPING_KIND_MASK))) else {
                return
            }
            found.append(
                ProgramMapping(
                    range: start ..< end, stack: heap_range_stack(word), tick: heap_range_tick(more), birth: birth,
                    kind: kind, isReserved: more & UInt64(HEAP_MAPPING_FLAG_RESERVED) != 0))
        }
    }

    // Five levels deep at the most.
    private func add(node: Int, level: UInt32, base: UInt64, to walk: inout TreeWalk) {
        guard walk.seen.indices.contains(node), !walk.seen[node] else {
            if walk.seen.indices.contains(node) || kind != .running || presence != .running {
                note("a node of RANGES in an impossible place", at: place(of: mappingSection, node))
            }
            return
        }
        walk.seen[node] = true
        let size = MemoryLayout<heap_range_node>.size, entrySize = MemoryLayout<heap_range>.size
        let buffer = ReadBuffer(byteCount: size)
        guard fill(buffer, size, at: place(of: mappingSection, node), "RANGES") == size else { return }
        let log2 = UInt64(heap_range_log2(level))
        for index in 0 ..< Int(HEAP_RANGE_ENTRIES) {
            let entry = buffer.bytes.loadUnaligned(fromByteOffset: index * entrySize, as: heap_range.self)
            if entry.word == 0 { continue }
            let page = base + UInt64(index) << log2
            if heap_range_is_node(entry.word) == 0 {
                if !walk.isOfPools {
                    walk.add(page, 1 << log2, entry.word, entry.more)
                } else if level == 0 {
                    walk.add(poolAt: page, entry.word, entry.more)
                }
            } else if level > 0 {
                add(node: Int(entry.word & 0xFFFF_FFFF), level: level - 1, base: page, to: &walk)
            } else {
                note("a page of RANGES that is a node", at: place(of: mappingSection, node))
            }
        }
    }
}

extension ProgramMapping {
    /// The form in a dense image.
    var stored: heap_mapping {
        heap_mapping(
            start: range.lowerBound, bytes: bytes, slot: heap_slot_make(stack, tick, 0), birth: birth,
            kind: kind.rawValue, flags: isReserved ? HEAP_MAPPING_FLAG_RESERVED : 0, reserved: 0)
    }
}

extension MappingSums {
    var stored: heap_mapping_sums {
        heap_mapping_sums(
            calls: calls, lost_calls: lostCalls, lost_bytes: lostBytes, peak_bytes: peakBytes,
            discarded_bytes: discardedBytes, discards: discards)
    }
}

extension RequestSums {
    /// Nil for an entry of another kind.
    init?(_ stored: heap_request_sums) {
        guard stored.kind == HEAP_MAPPING_REQUESTS.rawValue else { return nil }
        (places, refusedPlaces, unsurePlaces) = (stored.places, stored.refused, stored.unsure)
        (requests, lostPools) = (stored.requests, stored.lost_pools)
    }

    var stored: heap_request_sums {
        heap_request_sums(
            places: places, refused: refusedPlaces, unsure: unsurePlaces, requests: requests,
            kind: HEAP_MAPPING_REQUESTS.rawValue, flags: 0, lost_pools: lostPools)
    }
}

extension PoolSums {
    var stored: heap_pool_sums {
        heap_pool_sums(
            allocated_blocks: allocatedBlocks, allocated_bytes: allocatedBytes, freed_blocks: freedBlocks,
            freed_bytes: freedBytes, lost_blocks: lostBlocks, unmatched_frees: unmatchedFrees)
    }
}
