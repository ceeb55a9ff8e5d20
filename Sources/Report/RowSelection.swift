// Which rows a report shows, and in what order. Totals are made before; nothing here changes a row.

import Reduce

/// What rows are ordered by, the largest first.
package enum SortKey: String, CaseIterable, Sendable {
    case bytes, blocks
    case allocatedBytes = "allocated-bytes"
    case allocatedBlocks = "allocated-blocks"
    case peakBytes = "peak-bytes"
    case temporary, age

    /// Orders that ask for what came and went, and so for stacks that hold nothing now, too.
    package var isOfHistory: Bool {
        switch self {
        case .bytes, .blocks, .age: false
        case .allocatedBytes, .allocatedBlocks, .peakBytes, .temporary: true
        }
    }

    func value(_ row: Row) -> Double {
        switch self {
        case .bytes: Double(row.bytes)
        case .blocks: Double(row.blocks)
        case .allocatedBytes: Double(row.history?.allocatedBytes ?? row.bytes)
        case .allocatedBlocks: Double(row.history?.allocatedBlocks ?? row.blocks)
        case .peakBytes: Double(row.history?.peakBytes ?? 0)
        case .temporary: Double(row.history?.temporaryBlocks ?? 0)
        case .age: row.oldestSeconds ?? -1
        }
    }
}

/// A regular expression that can't be read.
package struct PatternError: Error, CustomStringConvertible {
    package var pattern: String
    package var reason: String
    package var description: String { "'\(escaped(pattern))' is no regular expression: \(reason)" }
}

/// Expressions that a stack must have, or must not have, in any of its frames.
package struct FrameFilter {
    private let include: [Regex<AnyRegexOutput>]
    private let exclude: [Regex<AnyRegexOutput>]
    package var isEmpty: Bool { include.isEmpty && exclude.isEmpty }

    /// Reads the expressions, in the syntax of Swift's Regex (PCRE's, for the most part).
    package init(include: [String] = [], exclude: [String] = []) throws(PatternError) {
        self.include = try Self.read(include)
        self.exclude = try Self.read(exclude)
    }

    private static func read(_ patterns: [String]) throws(PatternError) -> [Regex<AnyRegexOutput>] {
        var result: [Regex<AnyRegexOutput>] = []
        for pattern in patterns {
            do { result.append(try Regex(pattern)) } catch { throw PatternError(pattern: pattern, reason: "\(error)") }
        }
        return result
    }

    /// What the expressions say of one frame, with what is inlined there. Functions and the module's path are searched, of a long one the
    /// first 1,000 bytes: names are the program's, and an expression that backtracks must come to an end.
    func verdict(_ entries: [NamedFrame]) -> (included: Bool, excluded: Bool) {
        let texts = entries.flatMap { [$0.function, $0.modulePath, $0.function == nil ? $0.text : nil] }
            .compactMap { $0.map { $0.utf8.count > 1000 ? String(decoding: $0.utf8.prefix(1000), as: UTF8.self) : $0 } }
        func found(_ patterns: [Regex<AnyRegexOutput>]) -> Bool {
            patterns.contains { pattern in texts.contains { (try? pattern.firstMatch(in: $0)) != nil } }
        }
        return (found(include), found(exclude))
    }

    var hasIncludes: Bool { !include.isEmpty }
}

/// Rows to show, the largest first, and what is left of the others.
package struct RowSelection {
    package var rows: [Row] = []
    /// What the rows are of.
    package var grouping = Grouping.stack
    /// Which blocks the rows are of.
    package var blocks = BlockFilter()
    /// Rows that pass the filters but stand below the top.
    package var below = 0
    package var belowBytes: UInt64 = 0
    /// Stacks that the filters took out, of those that are candidates; and the bytes they took, of whichever stacks.
    package var filtered = 0
    package var filteredBytes: UInt64 = 0
    /// Of these, stacks whose blocks can't be told apart; see `FilteredRows`.
    package var undecided = 0
    package var undecidedBytes: UInt64 = 0
    /// Groups of stacks that are below the least bytes.
    package var small = 0
    package var smallBytes: UInt64 = 0
    /// What suppressions took out, of what the filters let pass.
    package var suppressed = SuppressedRows()

    /// All rows that pass, below the top or not.
    package var passing: (rows: Int, bytes: UInt64, blocks: UInt64) = (0, 0, 0)

    /// Selects from a reduction.
    ///
    /// - Parameter withFreed: take stacks, too, that hold nothing now, whatever the order.
    /// - Complexity: O(n log n) in rows; with a filter one search a distinct frame; with ages O(blocks).
    package init(
        _ reduction: Reduction, names: FrameNames, by grouping: Grouping = .stack, sort: SortKey = .bytes, top: Int? = nil,
        minBytes: UInt64 = 0, filter: FrameFilter? = nil, blocks: BlockFilter = BlockFilter(), suppressions: Suppressions? = nil,
        withFreed: Bool = false
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
        // Inlined functions count as the frames that they are shown as.
        if let filter, !filter.isEmpty { names.prepare(candidates) }
        var verdicts: [Frame: (included: Bool, excluded: Bool)] = [:]
        candidates.removeAll { row in
            var passes = grouping != .stack || row.bytes >= minBytes
            if passes, let filter, !filter.isEmpty {
                var included = !filter.hasIncludes, excluded = false
                reduction.tree.forEachFrame(of: row.node) { frame in
                    let verdict = verdicts[frame] ?? filter.verdict(names.expanded(frame))
                    verdicts[frame] = verdict
                    included = included || verdict.included
                    excluded = excluded || verdict.excluded
                }
                passes = included && !excluded
            }
            if !passes {
                filtered += 1
                filteredBytes &+= row.bytes
            }
            return !passes
        }
        if let suppressions { (candidates, suppressed) = suppressions.sift(candidates, of: reduction, names: names) }
        if grouping != .stack {
            candidates = names.grouped(candidates, by: grouping, of: blocks)
            let passing = candidates.filter { $0.bytes >= minBytes }
            small = candidates.count - passing.count
            smallBytes = candidates.reduce(0) { $0 &+ $1.bytes } &- passing.reduce(0) { $0 &+ $1.bytes }
            candidates = passing
        }
        passing = candidates.reduce(into: (candidates.count, 0, 0)) { ($0.1, $0.2) = ($0.1 &+ $1.bytes, $0.2 &+ $1.blocks) }
        var keyed = candidates.enumerated().map { (key: sort.value($1), order: $0, row: $1) }
        // Equal keys by bytes, then as they came in, so that two runs over one file print the same.
        keyed.sort { ($0.key, Double($0.row.bytes), -$0.order) > ($1.key, Double($1.row.bytes), -$1.order) }
        let count = min(top ?? .max, keyed.count)
        rows = keyed[..<count].map(\.row)
        below = keyed.count - count
        belowBytes = keyed[count...].reduce(0) { $0 &+ $1.row.bytes }
    }
}
