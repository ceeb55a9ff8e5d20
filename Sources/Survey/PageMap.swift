// A map of the allocator's memory: cells of resident pages that follow each other, with how full they are and whose
// blocks are on them. A cell covers a fixed piece of the address space, so that cells of a heap have the same width.

/// One cell.
package struct MapCell: Equatable, Sendable {
    /// Where its piece of the address space begins.
    package var address: UInt64
    /// Its place among the survey's arenas.
    package var arena: Int
    /// Resident pages in the piece.
    package var pages: UInt64 = 0
    /// Bytes of live blocks with their headers.
    package var used: UInt64 = 0
    /// Free bytes on pages with live blocks.
    package var pinned: UInt64 = 0
    /// The groups of stacks with the most bytes on it, the largest first.
    package var stacks: [(group: Int, bytes: UInt64)] = []
    /// Of all others.
    package var otherStacks: UInt64 = 0
    package var otherBytes: UInt64 = 0

    package static func == (one: MapCell, other: MapCell) -> Bool {
        one.address == other.address && one.arena == other.arena && one.pages == other.pages && one.used == other.used
            && one.pinned == other.pinned && one.otherBytes == other.otherBytes
            && one.stacks.elementsEqual(other.stacks) { $0 == $1 }
    }

    package static let mostStacks = 6
}

/// The cells, in order of arenas and then of address.
package struct PageMap {
    package private(set) var cells: [MapCell] = []
    package let pageBytes: UInt64, pagesPerCell: UInt64
    private var current: MapCell?
    private var sums: [Int: UInt64] = [:]

    /// - Parameters:
    ///   - pages: all pages of the map, of `pageBytes` each.
    ///   - cells: about how many cells there should be; with pages far from each other there are more.
    init(pages: UInt64, of pageBytes: UInt64, cells: UInt64) {
        self.pageBytes = pageBytes
        var size: UInt64 = 1
        while pages / size > cells { size *= 2 }
        pagesPerCell = size
    }

    /// Adds pages of one cell or more, all of the same block or of none.
    mutating func add(_ range: Range<UInt64>, arena: Int, used: UInt64, pinned: UInt64, stack: Int?) {
        let bytes = pagesPerCell * pageBytes, total = range.upperBound - range.lowerBound
        var at = range.lowerBound
        while at < range.upperBound {
            let end = min(range.upperBound, (at / bytes + 1) * bytes), part = end - at
            begin(at, arena)
            current?.pages += part / pageBytes
            // Pages that are added together are all full, or it is one page.
            let own = used == total ? part : used
            current?.used += own
            current?.pinned += pinned
            if let stack { sums[stack, default: 0] += own }
            at = end
        }
    }

    /// Adds what a stack's block has on the page that was just added.
    mutating func add(stack: Int, bytes: UInt64) { sums[stack, default: 0] += bytes }

    private mutating func begin(_ address: UInt64, _ arena: Int) {
        let bytes = pagesPerCell * pageBytes, start = address / bytes * bytes
        if let current, current.address == start, current.arena == arena { return }
        flush()
        current = MapCell(address: start, arena: arena)
    }

    /// Ends the last cell.
    mutating func flush() {
        guard var cell = current else { return }
        let all = sums.sorted { ($0.value, $1.key) > ($1.value, $0.key) }
        cell.stacks = all.prefix(MapCell.mostStacks).map { ($0.key, $0.value) }
        for (_, bytes) in all.dropFirst(MapCell.mostStacks) {
            cell.otherStacks += 1
            cell.otherBytes += bytes
        }
        sums.removeAll(keepingCapacity: true)
        cells.append(cell)
        current = nil
    }
}
