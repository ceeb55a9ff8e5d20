// What the blocks of a sampled image stand for. The probability that a block of a size was drawn is known. Bytes and
// blocks divided by it are unbiased estimates of the sums over all blocks (heap_sampling.h). In an image of every block
// each stands for itself.
//
// Invariant: the weights equal the recorder's, bit by bit, so that counters and live blocks can be settled.

import CHeapImage

/// What one or more blocks stand for, with the variance.
package struct BlockWeight: Equatable, Sendable {
    package var bytes: UInt64 = 0
    /// In units of 1 / `BlockWeight.unit` block.
    package var units: UInt64 = 0
    package var variance = Variance()
    /// Of the bytes, those on pages that are in memory; 0 if nobody looked.
    package var residentBytes: UInt64 = 0

    package static let unit = UInt64(HEAP_SAMPLE_BLOCK)

    package init() {}

    /// A block that stands for itself.
    package init(whole bytes: UInt64) { (self.bytes, units) = (bytes, Self.unit) }

    /// Blocks, rounded.
    package var blocks: UInt64 { Self.rounded(units) }

    package static func rounded(_ units: UInt64) -> UInt64 { (units &+ unit / 2) / unit }

    package static func += (sum: inout BlockWeight, other: BlockWeight) {
        sum.bytes &+= other.bytes
        sum.units &+= other.units
        sum.variance += other.variance
        sum.residentBytes &+= other.residentBytes
    }
}

/// The variance of estimates; 0 for exact values. For a sum of independent estimates, variances add up.
package struct Variance: Equatable, Sendable {
    package var bytes = 0.0
    package var blocks = 0.0

    package init(bytes: Double = 0, blocks: Double = 0) { (self.bytes, self.blocks) = (bytes, blocks) }

    package static func += (sum: inout Variance, other: Variance) {
        sum.bytes += other.bytes
        sum.blocks += other.blocks
    }

    /// Standard errors, in bytes and blocks: two thirds of all estimates are within one of the truth, 95 % within two.
    package var errorBytes: Double { bytes.squareRoot() }
    package var errorBlocks: Double { blocks.squareRoot() }
}

extension HeapImage {
    /// Mean bytes between two sampled ones; 0: every block was recorded.
    package var sampleInterval: UInt64 { header.sample_interval }
    package var isSampled: Bool { sampleInterval != 0 }

    /// What a block of this many requested bytes stands for.
    ///
    /// - Complexity: O(1); some 50 ns in a sampled image.
    package func weight(_ bytes: UInt64) -> BlockWeight {
        let interval = sampleInterval
        if interval == 0 { return BlockWeight(whole: bytes) }
        var weight = BlockWeight()
        weight.bytes = heap_counted_bytes(bytes, interval)
        weight.units = heap_counted_blocks(bytes, interval)
        // A block that is drawn with probability p counts 1/p; its variance is (1 - p)/p².
        let scale = Double(heap_sample_scale(bytes, interval)) / Double(1 << HEAP_SAMPLE_SCALE_LOG2)
        let each = scale * max(0, scale - 1)
        weight.variance = Variance(bytes: Double(bytes) * Double(bytes) * each, blocks: each)
        return weight
    }

    /// Whole blocks for a count of the image; rounded if the image's unit is a fraction of a block.
    package func wholeBlocks(_ count: UInt64) -> UInt64 {
        isSampled ? BlockWeight.rounded(count) : count
    }

    func wholeBlocks(_ level: Level) -> Level { Level(bytes: level.bytes, blocks: wholeBlocks(level.blocks)) }

    /// The same counts with whole blocks.
    func wholeBlocks(_ census: Census) -> Census {
        guard isSampled else { return census }
        var whole = census
        whole.liveBlocks = wholeBlocks(census.liveBlocks)
        whole.peak = wholeBlocks(census.peak)
        for index in whole.stacks.indices {
            // No stack that holds or did anything is rounded to nothing: each of its counts is at least a whole block.
            whole.stacks[index].liveBlocks = wholeBlocks(whole.stacks[index].liveBlocks)
            whole.stacks[index].allocatedBlocks = wholeBlocks(whole.stacks[index].allocatedBlocks)
            whole.stacks[index].freedBlocks = wholeBlocks(whole.stacks[index].freedBlocks)
            whole.stacks[index].temporaryBlocks = wholeBlocks(whole.stacks[index].temporaryBlocks)
            whole.stacks[index].peak = wholeBlocks(whole.stacks[index].peak)
        }
        return whole
    }
}
