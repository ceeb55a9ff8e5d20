// The live blocks of an image by address, gathered while they are counted. Blocks mostly come in order already, because
// the live map's leaves are made as the heap grows.

import HeapImage

/// Gathers blocks, and sorts them.
package final class SortedBlocks {
    private var blocks: [LiveBlock] = []
    private var isSorted = true
    private var last: UInt64 = 0

    /// - Parameter expected: about how many there will be.
    package init(expected: Int) { blocks.reserveCapacity(expected) }

    /// The blocks of an image.
    ///
    /// - Complexity: O(blocks)
    package convenience init(_ image: HeapImage) {
        self.init(expected: image.expectedBlocks)
        image.forEachBlock { add($0) }
    }

    /// Adds a batch. Blocks at impossible addresses are left out: user addresses have at most 56 bits, and the lowest
    /// page is never mapped.
    package func add(_ batch: Swift.Span<LiveBlock>) {
        for index in batch.indices {
            let block = batch[index]
            guard block.address >= 4096 && block.address < 1 << 56 && block.bytes < 1 << 56 else { continue }
            isSorted = isSorted && block.address >= last
            last = block.address
            blocks.append(block)
        }
    }

    /// The blocks in order of address; they are given away.
    ///
    /// - Complexity: O(blocks) if they came in order, O(blocks log blocks) at the worst; 24 bytes of memory for each.
    package func sorted() -> [LiveBlock] {
        var result: [LiveBlock] = []
        swap(&result, &blocks)
        if !isSorted { result.sort { $0.address < $1.address } }
        return result
    }
}
