// Live blocks that the image doesn't have: from before a recording was attached, inherited by fork, or not booked. A
// walk over glibc's arenas tells them from free memory. Where it can't, the survey says so: then they count as free on
// pages with other live blocks, and as malloc's own on others.

import CHeapImage
import Glibc
import HeapImage
import Leaks
import Text

/// Where a recording stood at a moment before its live blocks were read.
package struct RecordingPoint {
    /// The image as the program writes it.
    package var image: HeapImage
    package var allocatedBlocks: UInt64

    /// - Returns: nil if all of the process's blocks should be in the image, or it can't be read.
    package init?(_ image: HeapImage) {
        guard EarlierSums(image) != nil, let blocks = try? Self.allocated(image) else { return nil }
        (self.image, allocatedBlocks) = (image, blocks)
    }

    static func allocated(_ image: HeapImage) throws -> UInt64 {
        try image.counters().stacks.reduce(0) { $0 &+ $1.allocatedBlocks }
    }
}

/// The blocks that an image doesn't have.
package struct EarlierSums {
    /// Where they come from, in words that follow "blocks".
    package var origin: String
    /// What they hold and pin; nothing if none was found.
    package internal(set) var sums = PinSums()
    /// Why some or all of them could not be told; none: all were found.
    package internal(set) var gaps: [String] = []
    /// At most so many of them are younger: allocated and booked while the process was read.
    package internal(set) var mostYounger: UInt64 = 0
    /// Blocks of the image that malloc has as free.
    package internal(set) var gone = 0

    /// Whether all were found.
    package var isWhole: Bool { gaps.isEmpty }
    /// Why not, in a few words.
    package var why: String {
        gaps.prefix(3).joined(separator: "; ") + (gaps.count > 3 ? "; and \(gaps.count - 3) more" : "")
    }

    /// - Returns: nil if all live blocks should be in the image.
    init?(_ image: HeapImage) {
        let lost = image.losses.lost_allocations &+ image.losses.early_allocations &+ image.losses.paused_allocations
        var origins: [String] = []
        if image.hasFlag(HEAP_FLAG_ATTACHED) { origins.append("from before the recording was attached") }
        if image.hasFlag(HEAP_FLAG_FORKED) { origins.append("inherited by fork") }
        if lost > 0 { origins.append("that were not booked (\(separated(lost)) allocations)") }
        if origins.isEmpty { return nil }
        origin = origins.joined(separator: " or ")
    }

    var notes: [String] {
        var notes: [String] = []
        if isWhole {
            var note = "blocks \(origin) were found in malloc's arenas, without their stacks"
            if mostYounger > 0 {
                note += "; at most \(separated(mostYounger)) of them are younger, allocated while this was read"
            }
            notes.append(note)
        } else {
            notes.append(
                "blocks \(origin) can't \(sums.blocks > 0 ? "all " : "")be told from free memory (\(why)): those count "
                    + "as free on pages with other live blocks, and as in malloc's caches or not booked on others")
        }
        if gone > 0 {
            notes.append(
                "\(counted(UInt64(gone), "block")) of the image are free by malloc's records: freed meanwhile, or by "
                    + "an address of free from before the recording; they count as free")
        }
        return notes
    }
}

extension PageSurvey {
    /// Finds the blocks that the image doesn't have, and adds them to its blocks, in order of address.
    ///
    /// - Returns: nil if no walk was made.
    mutating func addEarlier(
        thread: pid_t, _ since: RecordingPoint?, to blocks: inout [LiveBlock]
    ) -> EarlierInRunning? {
        guard earlier != nil else { return nil }
        guard isGlibc else {
            earlier?.gaps = ["the allocator is not glibc's"]
            return nil
        }
        var found = EarlierInRunning(thread: thread, blocks: blocks)
        earlier?.gaps = found.gaps
        earlier?.gone = found.gone.count
        if !found.blocks.isEmpty { earlier?.mostYounger = Self.removeYounger(from: &found, since) }
        if !found.gone.isEmpty { blocks.removeAll { found.gone.contains($0.address) } }
        blocks += found.blocks
        blocks.sort { $0.address < $1.address }
        return found
    }

    /// Blocks that were allocated after the image was read are in the running image by now, unless they are freed.
    ///
    /// - Returns: how many of those that are left may be younger.
    private static func removeYounger(from found: inout EarlierInRunning, _ since: RecordingPoint?) -> UInt64 {
        let all = UInt64(found.blocks.count)
        guard let since, let now = try? RecordingPoint.allocated(since.image) else { return all }
        if now == since.allocatedBlocks { return 0 }
        let known = Set(found.blocks.lazy.map(\.address))
        var younger: Set<UInt64> = []
        since.image.forEachBlock { batch in
            for index in batch.indices where known.contains(batch[index].address) {
                younger.insert(batch[index].address)
            }
        }
        found.remove(younger)
        let allocated = now &- since.allocatedBlocks, rest = UInt64(found.blocks.count)
        return allocated < all ? min(rest, allocated - min(allocated, UInt64(younger.count))) : rest
    }
}

/// The parts that two lists of ranges have in common, both in order of address and without overlaps.
func common(_ one: [Range<UInt64>], _ other: [Range<UInt64>]) -> [Range<UInt64>] {
    var result: [Range<UInt64>] = [], at = 0
    for range in one {
        while at < other.count && other[at].upperBound <= range.lowerBound { at += 1 }
        var next = at
        while next < other.count && other[next].lowerBound < range.upperBound {
            result.append(range.clamped(to: other[next]))
            next += 1
        }
    }
    return result
}
