// What a sampled image's blocks stand for. A block of so many bytes was drawn with a known chance; divided by it, bytes
// and blocks are unbiased estimates of what all blocks come to (heap_image.h, "Sampling"). Of an image that holds every
// block each stands for itself.
//
// Invariant: the numbers are those that the recorder counted with, bit by bit: counters and live blocks still settle.

import CHeapImage

/// What one block, or several, stand for, and how far that may be off.
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

/// The variance of estimates: of a sum of independent ones the sum. 0 of what is known exactly.
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
    /// Mean bytes between two sampled ones; 0 where every block was recorded.
    package var sampleInterval: UInt64 { header.sample_interval }
    package var isSampled: Bool { sampleInterval != 0 }

    /// What a block of so many requested bytes stands for.
    ///
    /// - Complexity: O(1); of a sampled image some 50 ns.
    package func weight(_ bytes: UInt64) -> BlockWeight {
        let interval = sampleInterval
        if interval == 0 { return BlockWeight(whole: bytes) }
        var weight = BlockWeight()
        weight.bytes = heap_counted_bytes(bytes, interval)
        weight.units = heap_counted_blocks(bytes, interval)
        // 1/p and (1 - p)/p² of a chance p: the variance of a block that is drawn with p and counts 1/p then.
        let scale = Double(heap_sample_scale(bytes, interval)) / Double(1 << HEAP_SAMPLE_SCALE_LOG2)
        let each = scale * max(0, scale - 1)
        weight.variance = Variance(bytes: Double(bytes) * Double(bytes) * each, blocks: each)
        return weight
    }

    /// Blocks of a number that the image has of them: rounded where its unit is a part of one.
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
            // A stack that holds or did anything is never rounded to nothing: its parts are at least a whole block.
            whole.stacks[index].liveBlocks = wholeBlocks(whole.stacks[index].liveBlocks)
            whole.stacks[index].allocatedBlocks = wholeBlocks(whole.stacks[index].allocatedBlocks)
            whole.stacks[index].freedBlocks = wholeBlocks(whole.stacks[index].freedBlocks)
            whole.stacks[index].temporaryBlocks = wholeBlocks(whole.stacks[index].temporaryBlocks)
            whole.stacks[index].peak = wholeBlocks(whole.stacks[index].peak)
        }
        return whole
    }
}
