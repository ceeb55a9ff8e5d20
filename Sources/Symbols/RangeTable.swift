// Finds the name of an address: ranges of addresses from any source (ELF symbols, a listing, a JIT's map) are flattened
// once into disjoint pieces in the order of addresses. So a look-up is one binary search, no matter how the ranges
// overlap. The table knows a name only by its source and its number there.

import Text

/// Disjoint, sorted ranges of addresses.
///
/// An address belongs to the range with the greatest start that contains it: of nested ranges to the innermost, and
/// after the inner one's end to the enclosing one again. A range without a size reaches to the next start, but not past
/// its limit. It exists only if no sized range contains its start: so a label inside a function does not hide the
/// function.
package struct RangeTable: Sendable {
    package struct Entry: Sendable {
        package var start: UInt64
        /// The first address after the range; for a range without a size, its limit.
        package var end: UInt64
        /// The source's own number for the name.
        package var name: UInt32
        package var source: UInt8
        /// The name's rank by its source; lower is better. `prefers` decides how it is used.
        package var rank: UInt8
        package var isSized: Bool

        package init(start: UInt64, end: UInt64, name: UInt32, source: UInt8, rank: UInt8, isSized: Bool) {
            self.start = start
            self.end = end
            self.name = name
            self.source = source
            self.rank = rank
            self.isSized = isSized
        }
    }

    /// The range that contains an address.
    package struct Match: Equatable, Sendable {
        package var start: UInt64
        package var name: UInt32
        package var source: UInt8
    }

    private static let none = UInt32.max

    /// Piece i is [pieceStarts[i], pieceStarts[i + 1]), and belongs to kept[pieceOwners[i]], or to nothing.
    private var pieceStarts: [UInt64] = []
    private var pieceOwners: [UInt32] = []
    private var kept: [Match] = []

    package var pieceCount: Int { pieceStarts.count }

    /// Flattens the entries.
    ///
    /// - Parameter prefers: whether the first of two entries for the same range has the better name.
    /// - Complexity: O(n log n) comparisons of integers, O(n) calls of `prefers`, at most 2n pieces.
    package init(_ unordered: consuming [Entry], prefers: (Entry, Entry) -> Bool) {
        var entries = unordered
        entries.removeAll { $0.end <= $0.start }
        // Sized before unsized, and longer before shorter, so that the sweep meets an enclosing range first. The rest
        // of the key makes the order the same in every run.
        entries.sort { a, b in
            if a.start != b.start { return a.start < b.start }
            if a.isSized != b.isSized { return a.isSized }
            if a.end != b.end { return a.end > b.end }
            if a.rank != b.rank { return a.rank < b.rank }
            if a.source != b.source { return a.source < b.source }
            return a.name < b.name
        }
        pieceStarts.reserveCapacity(entries.count)
        pieceOwners.reserveCapacity(entries.count)
        kept.reserveCapacity(entries.count)

        // A stack of the ranges that contain the sweep's position and may appear again. Starts grow from bottom to top;
        // ends strictly fall, because a range that ends no later than a newer one never appears again.
        var open: [(end: UInt64, owner: UInt32)] = []
        var sizedEnd: UInt64 = 0
        var index = 0, nextStart = 0
        while index < entries.count {
            var best = entries[index]
            if nextStart <= index {
                nextStart = index
                while nextStart < entries.count, entries[nextStart].start == best.start { nextStart += 1 }
            }
            // Two unsized ranges may have different limits and still reach to the same next start.
            let next = nextStart < entries.count ? entries[nextStart].start : .max
            if !best.isSized { best.end = min(best.end, next) }
            index += 1
            while index < nextStart, entries[index].isSized == best.isSized,
                best.isSized ? entries[index].end == best.end : min(entries[index].end, next) == best.end
            {
                entries[index].end = best.end
                if prefers(entries[index], best) { best = entries[index] }
                index += 1
            }
            if best.isSized {
                sizedEnd = max(sizedEnd, best.end)
            } else if best.start < sizedEnd {
                continue
            }
            close(&open, upTo: best.start)
            while let top = open.last, top.end <= best.end { open.removeLast() }
            let owner = UInt32(kept.count)
            kept.append(Match(start: best.start, name: best.name, source: best.source))
            open.append((best.end, owner))
            appendPiece(at: best.start, owner: owner)
        }
        close(&open, upTo: .max)
    }

    private mutating func close(_ open: inout [(end: UInt64, owner: UInt32)], upTo address: UInt64) {
        while let top = open.last, top.end <= address {
            open.removeLast()
            appendPiece(at: top.end, owner: open.last?.owner ?? Self.none)
        }
    }

    private mutating func appendPiece(at start: UInt64, owner: UInt32) {
        if let last = pieceStarts.last, last == start {
            pieceOwners[pieceOwners.count - 1] = owner
        } else {
            pieceStarts.append(start)
            pieceOwners.append(owner)
        }
    }

    /// The index of the piece that holds an address.
    private func piece(at address: UInt64) -> Int? {
        var low = 0, high = pieceStarts.count
        while low < high {
            let middle = (low + high) / 2
            if pieceStarts[middle] <= address { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : low - 1
    }

    /// What the address belongs to, or nil.
    ///
    /// - Complexity: O(log n)
    package func match(at address: UInt64) -> Match? {
        guard let piece = piece(at: address), pieceOwners[piece] != Self.none else { return nil }
        return kept[Int(pieceOwners[piece])]
    }

    /// How many bytes from `start` on belong to a range that begins there: the resulting size of an unsized range.
    package func byteCount(from start: UInt64) -> UInt64 {
        guard let piece = piece(at: start), pieceStarts[piece] == start, pieceOwners[piece] != Self.none,
            kept[Int(pieceOwners[piece])].start == start, piece + 1 < pieceStarts.count
        else { return 0 }
        return pieceStarts[piece + 1] - start
    }
}
