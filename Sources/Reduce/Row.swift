// The rows of a reduction: what each unique stack holds, and the sums over all rows.

import HeapImage

/// What one unique stack holds.
package struct Row {
    package var node: UInt32
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0
    /// How many of the blocks have no known size; `bytes` is without them.
    package var blocksOfUnknownSize: UInt64 = 0
    /// nil if an input has no history, as a log that has live blocks only.
    package var history: History? = History()
    /// Ages at the dump, in seconds; nil if no live block has a known time.
    package var oldestSeconds: Double?
    package var newestSeconds: Double?
    /// What the row stands for if rows are not stacks; see `Reduction.grouped`.
    package var key: RowKey?
    /// nil if an input with some of its blocks has no verdict.
    package var verdict: RowVerdict?
    /// The variance of the bytes and blocks, if any of them are estimates of a sampled image; nil: they are exact, or
    /// unknown.
    package var variance: Variance?
    /// Of the bytes, those on pages that were in memory when a running program's pages were looked up; nil if they are
    /// not known for all blocks. See `Reduction.lookUpResidence`.
    package var residentBytes: UInt64?

    /// What was allocated and freed over time.
    package struct History: Equatable {
        package var allocatedBytes: UInt64 = 0
        package var allocatedBlocks: UInt64 = 0
        package var freedBytes: UInt64 = 0
        package var freedBlocks: UInt64 = 0
        /// Held at the process's peak.
        package var peakBytes: UInt64 = 0
        package var peakBlocks: UInt64 = 0
        package var temporaryBlocks: UInt64 = 0

        package init() {}
    }

    package init(node: UInt32) { self.node = node }

    mutating func add(_ more: Variance?) {
        guard let more else { return }
        var sum = variance ?? Variance()
        sum += more
        variance = sum
    }

    mutating func addAges(oldest: Double, newest: Double) {
        oldestSeconds = max(oldestSeconds ?? oldest, oldest)
        newestSeconds = min(newestSeconds ?? newest, newest)
    }
}

/// The sums over all rows.
package struct Totals: Equatable {
    package var liveBytes: UInt64 = 0
    package var liveBlocks: UInt64 = 0
    /// How many of the live blocks have no known size; `liveBytes` is without them.
    package var blocksOfUnknownSize: UInt64 = 0
    package var history: Row.History? = Row.History()
    /// The sum of the processes' peaks, which may have been at different times.
    package var peakBytes: UInt64?
    /// Stacks that hold live blocks.
    package var uniqueStacks = 0
    package var lostEvents: UInt64 = 0
    /// nil if an input does not tell: in a sampled image, frees of blocks that were not drawn are normal.
    package var unmatchedFrees: UInt64?
    /// The variance of the live bytes and blocks, if any of them are estimates of a sampled image.
    package var variance: Variance?

    package init() {}
}

extension Row.History {
    package mutating func add(_ counts: StackCounts) {
        allocatedBytes &+= counts.allocatedBytes
        allocatedBlocks &+= counts.allocatedBlocks
        freedBytes &+= counts.freedBytes
        freedBlocks &+= counts.freedBlocks
        peakBytes &+= counts.peak.bytes
        peakBlocks &+= counts.peak.blocks
        temporaryBlocks &+= counts.temporaryBlocks
    }
}
