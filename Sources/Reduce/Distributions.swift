// Distributions for all blocks of some rows and for single rows: sizes of live blocks, by powers of two, and lifetimes
// of freed blocks.

import HeapImage
import Text

/// Sizes of live blocks, and lifetimes of freed ones.
package struct Distributions: Equatable {
    /// Size class i has the sizes with i bits: 0; 1; 2 and 3; 4 to 7 and so on.
    package static let sizeClasses = UInt64.bitWidth + 1
    package var sizes = [(bytes: UInt64, blocks: UInt64)](repeating: (0, 0), count: sizeClasses)
    /// By `LifetimeClass`.
    package var lifetimes = [UInt64](repeating: 0, count: LifetimeClass.count)

    package init() {}

    package static func == (one: Distributions, other: Distributions) -> Bool {
        one.lifetimes == other.lifetimes && zip(one.sizes, other.sizes).allSatisfy { $0 == $1 }
    }

    /// The sizes of a class.
    package static func sizes(of number: Int) -> ClosedRange<UInt64> {
        if number <= 0 { return 0 ... 0 }
        let first: UInt64 = 1 << UInt64(min(number, UInt64.bitWidth) - 1)
        return first ... (first - 1 + first)
    }

    package static func sizeClass(_ bytes: UInt64) -> Int { UInt64.bitWidth - bytes.leadingZeroBitCount }

    /// From the units of weights to blocks.
    fileprivate mutating func roundBlocks() {
        for number in sizes.indices { sizes[number].blocks = BlockWeight.rounded(sizes[number].blocks) }
    }

    package var isEmpty: Bool { !sizes.contains { $0.blocks > 0 } && !lifetimes.contains { $0 > 0 } }
}

extension Reduction {
    /// The distributions of all blocks of `rows`, and of each row of `single` (a part of `rows`), by its node. A log's
    /// blocks are sums, so they are left out.
    ///
    /// - Complexity: O(blocks + stacks), reads the images again; about 1.2 KB of memory for each single row.
    package func distributions(
        of rows: [Row], single: [Row] = [], blocks: BlockFilter = BlockFilter()
    ) -> (all: Distributions, rows: [UInt32: Distributions]) {
        var all = Distributions()
        var parts = [Distributions](repeating: Distributions(), count: single.count)
        // For each row of the reduction: not counted, only counted, or its place among the single ones.
        let (none, counted) = (-2, -1)
        var placeOfNode = [Int](repeating: none, count: tree.count)
        for row in rows where Int(row.node) < placeOfNode.count { placeOfNode[Int(row.node)] = counted }
        for (place, row) in single.enumerated() where Int(row.node) < placeOfNode.count {
            placeOfNode[Int(row.node)] = place
        }
        let places = self.rows.map { placeOfNode[Int($0.node)] }
        forEachLiveBlock(passing: blocks) { (block: LiveBlock, row: Int, _, weight: BlockWeight) in
            let place = places[row]
            guard place != none else { return }
            let size = Distributions.sizeClass(block.bytes)
            all.sizes[size].bytes &+= weight.bytes
            all.sizes[size].blocks &+= weight.units
            guard place >= 0 else { return }
            parts[place].sizes[size].bytes &+= weight.bytes
            parts[place].sizes[size].blocks &+= weight.units
        }
        all.roundBlocks()
        for place in parts.indices { parts[place].roundBlocks() }
        forEachLifetime { row, lifetime, blocks in
            let place = places[row]
            guard place != none else { return }
            all.lifetimes[lifetime] &+= blocks
            if place >= 0 { parts[place].lifetimes[lifetime] &+= blocks }
        }
        return (all, Dictionary(zip(single, parts).map { ($0.node, $1) }, uniquingKeysWith: { first, _ in first }))
    }
}
