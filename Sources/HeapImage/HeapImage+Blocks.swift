// The live blocks of both shapes of image, in batches.
//
// Invariant: the block of a reallocation in flight is returned exactly once, from its thread's record, no matter which
// of its slots were written. Claims are not blocks. The inner loops copy each block with one comparison of the slot's
// word; bounds are checked once for each piece. One of the files with raw pointers.

import CHeapImage

/// One live block.
package struct LiveBlock: Equatable, BitwiseCopyable {
    package var address: UInt64
    /// The requested bytes.
    package var bytes: UInt64
    /// May be beyond the image's stacks if the image is damaged.
    package var stack: UInt32
    /// When it was allocated; see `milliseconds(ofTick:)`.
    package var tick: UInt32

    package init(address: UInt64, bytes: UInt64, stack: UInt32, tick: UInt32) {
        self.address = address
        self.bytes = bytes
        self.stack = stack
        self.tick = tick
    }

    init(address: UInt64, slot: UInt64, bytes: UInt64) {
        self.init(address: address, bytes: bytes, stack: heap_slot_stack(slot), tick: heap_slot_tick(slot))
    }
}

/// The first millisecond, since the recording's start, that a tick covers.
package func milliseconds(ofTick tick: UInt32) -> UInt64 { heap_tick_milliseconds(tick) }

/// Addresses that a pass over the live blocks watches, and what it found there.
struct Watch {
    /// What the live map held at each watched address: more than one block if one was booked twice.
    var seen: [UInt64: [LiveBlock]] = [:]
    /// Blocks to skip, because an in-flight record counts them.
    var skipped: [UInt64: [LiveBlock]] = [:]
    private var filter: [UInt64] = []

    init(watched: some Sequence<UInt64>, skipped: some Sequence<LiveBlock>) {
        for block in skipped { self.skipped[block.address, default: []].append(block) }
        for address in watched { seen[address] = [] }
        if seen.isEmpty && self.skipped.isEmpty { return }
        // About 1 of 64 unwatched addresses is looked up in the dictionaries.
        var words = 16
        while words < seen.count + self.skipped.count { words *= 2 }
        filter = [UInt64](repeating: 0, count: words)
        for address in seen.keys { setBit(of: address) }
        for address in self.skipped.keys { setBit(of: address) }
    }

    private mutating func setBit(of address: UInt64) {
        let hash = Self.hash(address)
        filter[Int(hash >> 32) & (filter.count - 1)] |= 1 << (hash >> 58)
    }

    private static func hash(_ address: UInt64) -> UInt64 { (address >> 3) &* 0x9E37_79B9_7F4A_7C15 }

    var isEmpty: Bool { filter.isEmpty }

    /// Removes the skipped blocks from a batch, and keeps what was found at the watched addresses.
    mutating func sift(_ batch: UnsafeMutableBufferPointer<LiveBlock>, count: Int) -> Int {
        if filter.isEmpty { return count }
        var kept = 0
        for index in 0 ..< count {
            let block = batch[index]
            let hash = Self.hash(block.address)
            if filter[Int(hash >> 32) & (filter.count - 1)] & 1 << (hash >> 58) != 0 {
                // The map comes before the in-flight record: events are decided by the slot.
                if seen[block.address] != nil { seen[block.address]?.append(block) }
                if skipped[block.address]?.contains(block) == true { continue }
            }
            batch[kept] = block
            kept += 1
        }
        return kept
    }
}

extension HeapImage {
    /// About how many live blocks there are, for whoever makes room for them: never more than the file can hold.
    package var expectedBlocks: Int {
        Int(clamping: min(header.live_blocks, source.storedBytes / UInt64(heap_map_slot_bytes(HEAP_MAP_FINE))))
    }

    /// Passes every live block to `body`, in batches, in no particular order.
    ///
    /// - Complexity: O(the live map), in a few megabytes of memory.
    package func forEachBlock<Failure: Error>(_ body: (Span<LiveBlock>) throws(Failure) -> Void) throws(Failure) {
        var watch = Watch(watched: [], skipped: [])
        try forEachBlock(inFlight: inFlightReallocations(threads()), watch: &watch, body)
    }

    /// The reallocations that a reader has to count; none if the image has settled them.
    func inFlightReallocations(_ threads: [ThreadRecord]) -> [InFlight] {
        hasFlag(HEAP_FLAG_IN_FLIGHT_SETTLED) ? [] : threads.compactMap(\.inFlight)
    }

    /// The blocks that in-flight records count, so that slots with the same block are skipped.
    static func skipped(for inFlight: [InFlight]) -> [LiveBlock] {
        inFlight.compactMap(\.block)
    }

    func forEachBlock<Failure: Error>(
        inFlight: [InFlight], watch: inout Watch, _ body: (Span<LiveBlock>) throws(Failure) -> Void
    ) throws(Failure) {
        let blocks = inFlight.compactMap(\.block)
        if !blocks.isEmpty {
            try body(blocks.span)
            if watch.skipped.isEmpty {
                watch = Watch(watched: watch.seen.keys, skipped: Self.skipped(for: inFlight))
            }
        }
        // A read of the fine map's pieces has the most blocks.
        let capacity = max(chunkBytes / Int(heap_map_slot_bytes(HEAP_MAP_FINE)), 1)
        let batch = UnsafeMutableBufferPointer<LiveBlock>.allocate(capacity: capacity)
        defer { batch.deallocate() }
        if kind == .running {
            try forEachSparseBatch(batch, &watch, body)
        } else {
            try forEachDenseBatch(batch, &watch, body)
        }
    }

    private func forEachDenseBatch<Failure: Error>(
        _ batch: UnsafeMutableBufferPointer<LiveBlock>, _ watch: inout Watch,
        _ body: (Span<LiveBlock>) throws(Failure) -> Void
    ) throws(Failure) {
        try forEachChunk(of: .blocks) { bytes, _ throws(Failure) in
            let count = bytes.byteCount / MemoryLayout<heap_block>.size
            var kept = 0
            bytes.withUnsafeBytes { raw in
                for index in 0 ..< count {
                    let block = raw.loadUnaligned(
                        fromByteOffset: index &* MemoryLayout<heap_block>.stride, as: heap_block.self)
                    batch[kept] = LiveBlock(address: block.address, slot: block.slot, bytes: block.bytes)
                    kept &+= heap_slot_stack(block.slot) != 0 ? 1 : 0
                }
            }
            kept = watch.sift(batch, count: kept)
            if kept > 0 { try body(UnsafeBufferPointer(rebasing: batch[..<kept]).span) }
            return true
        }
    }

    private func forEachSparseBatch<Failure: Error>(
        _ batch: UnsafeMutableBufferPointer<LiveBlock>, _ watch: inout Watch,
        _ body: (Span<LiveBlock>) throws(Failure) -> Void
    ) throws(Failure) {
        var pieces: [heap_piece] = []
        pieces.reserveCapacity(sections[SectionName.pieces.rawValue].readableEntries)
        forEachEntry(of: .pieces, as: heap_piece.self) { _, piece in pieces.append(piece) }

        let slots = sections[SectionName.slots.rawValue]
        let pieceBytes = Int(HEAP_PIECE_BYTES)
        let log2 = withUnsafeBytes(of: header.granule_log2) { Array($0) }
        let buffer = ReadBuffer(byteCount: chunkBytes)
        var piece = 1
        let end = min(pieces.count, slots.readableEntries)
        if let lost = pieces.indices.dropFirst(max(end, 1)).first(where: { pieces[$0].kind == HEAP_PIECE_LEAF.rawValue }
        ),
            presence == .gone
        {
            note(
                "pieces of the live map are missing", at: place(of: .slots, lost),
                lost: UInt64(pieces.count - lost) * UInt64(pieceBytes))
        }
        while piece < end {
            guard pieces[piece].kind == HEAP_PIECE_LEAF.rawValue else {
                if pieces[piece].kind > HEAP_PIECE_LEAF.rawValue {
                    note("a piece of an unknown kind", at: place(of: .pieces, piece), lost: UInt64(pieceBytes))
                }
                piece += 1
                continue
            }
            // Adjacent leaves, up to a chunk, are read at once.
            let first = piece
            while piece < end && pieces[piece].kind == HEAP_PIECE_LEAF.rawValue
                && piece - first < chunkBytes / pieceBytes
            {
                piece += 1
            }
            let wanted = (piece - first) * pieceBytes
            let count = fill(buffer, wanted, at: place(of: .slots, first), "SLOTS")
            var kept = 0
            for leaf in 0 ..< count / pieceBytes {
                let description = pieces[first + leaf]
                guard description.map < HEAP_MAP_COUNT else {
                    note("a piece of an unknown map", at: place(of: .pieces, first + leaf), lost: UInt64(pieceBytes))
                    continue
                }
                let raw = UnsafeRawBufferPointer(rebasing: buffer.bytes[leaf * pieceBytes ..< (leaf + 1) * pieceBytes])
                let granule = UInt64(log2[Int(description.map)])
                if description.map == HEAP_MAP_FINE {
                    kept = Self.takeFine(raw, base: description.base, granuleLog2: granule, into: batch, kept)
                } else {
                    kept = Self.takeCoarse(raw, base: description.base, granuleLog2: granule, into: batch, kept)
                }
            }
            kept = watch.sift(batch, count: kept)
            if kept > 0 { try body(UnsafeBufferPointer(rebasing: batch[..<kept]).span) }
        }
    }

    // First finds the occupied slots, without a branch: they are practically random, and a branch would be mispredicted
    // a third of the time. Then makes blocks of those only, because most slots are empty.
    static func takeFine(
        _ raw: UnsafeRawBufferPointer, base: UInt64, granuleLog2: UInt64,
        into batch: UnsafeMutableBufferPointer<LiveBlock>, _ start: Int
    ) -> Int {
        let slots = Int(heap_map_leaf_slots(HEAP_MAP_FINE))
        return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: slots) { taken in
            var count = 0
            for index in 0 ..< slots {
                taken[count] = UInt32(truncatingIfNeeded: index)
                let slot = raw.loadUnaligned(fromByteOffset: index &* 8, as: UInt64.self)
                count &+= slot >> UInt64(HEAP_SLOT_STACK_SHIFT) != 0 ? 1 : 0
            }
            for place in 0 ..< count {
                let index = Int(taken[place])
                let slot = raw.loadUnaligned(fromByteOffset: index &* 8, as: UInt64.self)
                let low = UInt64(heap_slot_low(slot))
                batch[start &+ place] = LiveBlock(
                    address: base &+ UInt64(index) &<< granuleLog2 &+ low & UInt64(HEAP_SLOT_FINE_OFFSET_MASK),
                    slot: slot,
                    bytes: low >> UInt64(HEAP_SLOT_FINE_SIZE_SHIFT))
            }
            return start &+ count
        }
    }

    // Writes each slot to the batch, and counts it only if it holds a block.
    static func takeCoarse(
        _ raw: UnsafeRawBufferPointer, base: UInt64, granuleLog2: UInt64,
        into batch: UnsafeMutableBufferPointer<LiveBlock>, _ start: Int
    ) -> Int {
        var kept = start
        for index in 0 ..< Int(heap_map_leaf_slots(HEAP_MAP_COUNT - 1)) {
            let slot = raw.loadUnaligned(fromByteOffset: index &* 16, as: UInt64.self)
            batch[kept] = LiveBlock(
                address: base &+ UInt64(index) &<< granuleLog2 &+ UInt64(heap_slot_low(slot)), slot: slot,
                bytes: raw.loadUnaligned(fromByteOffset: index &* 16 &+ 8, as: UInt64.self))
            kept &+= heap_slot_stack(slot) != 0 ? 1 : 0
        }
        return kept
    }
}
