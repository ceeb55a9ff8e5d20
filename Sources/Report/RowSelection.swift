// Which rows a report shows, and in what order. Totals are made before. Nothing here changes a row.

import Reduce

/// Rows to show, largest first, and sums of the others.
package struct RowSelection {
    package var rows: [Row] = []
    /// What the rows stand for.
    package var grouping = Grouping.stack
    /// The blocks that the rows contain.
    package var blocks = BlockFilter()
    /// Whether a filter of frames chose them.
    package var isFiltered = false
    /// Rows that pass the filters but are below the top.
    package var below = 0
    package var belowBytes: UInt64 = 0
    /// Candidate stacks that the filters removed; and the bytes that they removed from all stacks.
    package var filtered = 0
    package var filteredBytes: UInt64 = 0
    /// How many of these have blocks that can't be decided; see `FilteredRows`.
    package var undecided = 0
    package var undecidedBytes: UInt64 = 0
    /// Groups of stacks below the minimum bytes.
    package var small = 0
    package var smallBytes: UInt64 = 0
    /// What suppressions removed from what passed the filters.
    package var suppressed = SuppressedRows()

    /// All rows that pass, shown or not.
    package var passing: (rows: Int, bytes: UInt64, blocks: UInt64) = (0, 0, 0)

    /// Selects from a reduction.
    ///
    /// - Parameters:
    ///   - withFreed: include stacks that hold nothing now, in any order.
    ///   - withMappings: by kind, include what the programs mapped, unless blocks or frames are chosen.
    /// - Complexity: O(n log n) in rows; with a filter, one search for each distinct frame; with ages, O(blocks).
    package init(
        _ reduction: Reduction, names: FrameNames, by grouping: Grouping = .stack, sort: SortKey = .bytes,
        top: Int? = nil,
        minBytes: UInt64 = 0, filter: FrameFilter? = nil, blocks: BlockFilter = BlockFilter(),
        suppressions: Suppressions? = nil,
        withFreed: Bool = false, withMappings: Bool = false
    ) {
        self.grouping = grouping
        self.blocks = blocks
        var candidates = reduction.rows
        if blocks != BlockFilter() {
            let chosen = reduction.rows(blocks)
            candidates = chosen.rows
            (filtered, filteredBytes) = (chosen.filtered, chosen.filteredBytes)
            (undecided, undecidedBytes) = (chosen.undecided, chosen.undecidedBytes)
        }
        candidates.removeAll { $0.blocks == 0 && !sort.isOfHistory && !withFreed }
        if let filter, !filter.isEmpty {
            isFiltered = true
            var passes = filter.passes(candidates.map(\.node), of: reduction, names: names).makeIterator()
            leaveOut(from: &candidates) { _ in passes.next() ?? true }
        }
        if grouping == .stack { leaveOut(from: &candidates) { $0.bytes >= minBytes } }
        if let suppressions { (candidates, suppressed) = suppressions.sift(candidates, of: reduction, names: names) }
        if grouping != .stack {
            candidates = names.grouped(candidates, by: grouping, of: blocks)
            if withMappings && grouping == .kind && blocks == BlockFilter() && !isFiltered {
                candidates += reduction.mappedRowsByKind()
            }
            let passing = candidates.filter { $0.bytes >= minBytes }
            small = candidates.count - passing.count
            smallBytes = candidates.reduce(0) { $0 &+ $1.bytes } &- passing.reduce(0) { $0 &+ $1.bytes }
            candidates = passing
        }
        passing = candidates.reduce(into: (candidates.count, 0, 0)) {
            ($0.1, $0.2) = ($0.1 &+ $1.bytes, $0.2 &+ $1.blocks)
        }
        let ordered = largestFirst(candidates, by: sort.quantity.order, bytes: \.bytes)
        let count = min(top ?? .max, ordered.count)
        rows = Array(ordered[..<count])
        below = ordered.count - count
        belowBytes = ordered[count...].reduce(0) { $0 &+ $1.bytes }
    }

    /// Removes the rows that don't pass, and counts them. `passes` is called in order.
    private mutating func leaveOut(from candidates: inout [Row], unless passes: (Row) -> Bool) {
        let rest = candidates.filter(passes)
        filtered += candidates.count - rest.count
        filteredBytes &+= candidates.reduce(0) { $0 &+ $1.bytes } &- rest.reduce(0) { $0 &+ $1.bytes }
        candidates = rest
    }
}

/// Rows in the order of every table: largest key first. Equal keys are ordered by bytes, then by their original order,
/// so that two runs over one file print the same.
///
/// - Complexity: O(n log n), and one call of `key` for each row.
package func largestFirst<Row>(_ rows: [Row], by key: (Row) -> Double, bytes: (Row) -> UInt64) -> [Row] {
    var keyed = rows.enumerated().map { (key: key($1), bytes: bytes($1), order: $0, row: $1) }
    keyed.sort { ($0.key, $0.bytes, $1.order) > ($1.key, $1.bytes, $0.order) }
    return keyed.map(\.row)
}
