// Where an allocator's memory lies, found in a running image without reading all blocks: from the live map's leaves,
// which exist wherever a block has ever been, and from the large blocks. Used to sort a process's mappings; it never
// counts blocks.

import CHeapImage

/// Address ranges that the program's allocator is known to have used.
package struct AllocatorExtents {
    /// Ranges in which there are or were small blocks; sorted; rounded to at least 64 KB.
    package var small: [Range<UInt64>] = []
    /// The live blocks of 32 KB or more, sorted by address.
    package var large: [Range<UInt64>] = []

    package init() {}
}

extension HeapImage {
    /// The extents of a running image. A dense image has none, because it has no live map.
    ///
    /// - Parameter finest: the last map whose leaves count as small blocks' ranges. Maps from the fourth on have large
    ///   blocks; those in between, if any, are left out.
    /// - Complexity: reads 16 bytes for each piece of the live map, and 16 KB for each 32 MB that contain large blocks.
    package func allocatorExtents(finest: UInt32 = 1) -> AllocatorExtents {
        var extents = AllocatorExtents()
        guard kind == .running else { return extents }
        let log2 = withUnsafeBytes(of: header.granule_log2) { Array($0) }
        let pieceBytes = Int(HEAP_PIECE_BYTES)
        var coarse: [(number: Int, piece: heap_piece)] = []
        forEachEntry(of: .pieces, as: heap_piece.self) { number, piece in
            guard piece.kind == HEAP_PIECE_LEAF.rawValue, piece.map < HEAP_MAP_COUNT, number > 0 else { return }
            if piece.map >= 3 { coarse.append((number, piece)) }
            // The second map's leaves span half a megabyte. Those of the coarser maps are too imprecise.
            guard piece.map <= finest else { return }
            let (end, overflow) = piece.base.addingReportingOverflow(
                1 << UInt64(heap_map_leaf_log2(piece.map, UInt32(log2[Int(piece.map)]))))
            if !overflow { extents.small.append(piece.base ..< end) }
        }
        let buffer = ReadBuffer(byteCount: pieceBytes)
        let batch = UnsafeMutableBufferPointer<LiveBlock>.allocate(
            capacity: Int(heap_map_leaf_slots(HEAP_MAP_COUNT - 1)))
        defer { batch.deallocate() }
        let slots = sections[SectionName.slots.rawValue]
        for (number, piece) in coarse where number < slots.readableEntries {
            guard fill(buffer, pieceBytes, at: place(of: .slots, number), "SLOTS") == pieceBytes else { continue }
            let raw = UnsafeRawBufferPointer(buffer.bytes)
            for block in batch[
                ..<Self.takeCoarse(raw, base: piece.base, granuleLog2: UInt64(log2[Int(piece.map)]), into: batch, 0)]
            {
                let (end, overflow) = block.address.addingReportingOverflow(block.bytes)
                if !overflow { extents.large.append(block.address ..< end) }
            }
        }
        extents.small.sort { $0.lowerBound < $1.lowerBound }
        extents.large.sort { $0.lowerBound < $1.lowerBound }
        return extents
    }
}

extension HeapImage {
    /// Ranges that contain all live blocks of a running image, sorted, without overlaps: the leaves of the finer maps,
    /// and the large blocks. They may contain much else.
    ///
    /// - Complexity: reads 16 bytes for each piece of the live map, and 16 KB for each 32 MB that contain large blocks.
    package func blockExtents() -> [Range<UInt64>] {
        let extents = allocatorExtents(finest: 2)
        var result: [Range<UInt64>] = []
        for range in (extents.small + extents.large).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = result.last, range.lowerBound <= last.upperBound {
                result[result.count - 1] = last.lowerBound ..< max(last.upperBound, range.upperBound)
            } else {
                result.append(range)
            }
        }
        return result
    }
}
