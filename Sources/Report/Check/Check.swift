// A check: limits, what stands against them, and the rows that are to blame. Every format tells of the same check;
// nothing here prints.

import HeapImage
import Reduce

/// What a check holds against a number.
package enum CheckedQuantity: String, CaseIterable, Sendable {
    case bytes = "max-bytes"
    case blocks = "max-blocks"
    case stacks = "max-stacks"
    case growthBytes = "max-growth-bytes"
    case definite = "max-definite"

    /// In words, of rows by `grouping`.
    func text(_ grouping: Grouping) -> String {
        switch self {
        case .bytes: "live bytes"
        case .blocks: "live blocks"
        case .stacks: "\(grouping.noun)s with live blocks"
        case .growthBytes: "growth in bytes"
        case .definite: "definitely lost bytes"
        }
    }
}

/// One limit, and what stands against it.
package struct CheckVerdict: Equatable, Sendable {
    package var quantity: CheckedQuantity
    package var most: UInt64
    /// Growth may be below zero.
    package var value: Int64

    package var passed: Bool { value <= 0 || UInt64(value) <= most }
    /// How far above the limit.
    package var excess: UInt64 { passed ? 0 : UInt64(value) - most }
}

/// What was there before.
package struct Baseline {
    package var path: String
    package var bytes: UInt64
    package var blocks: UInt64
    /// By what a row is called; see `FrameNames.signature`.
    package var rows: [String: (bytes: UInt64, blocks: UInt64)] = [:]
    /// It was a report in JSON, which is no moment for a diff.
    package var isReport: Bool

    package init(path: String, isReport: Bool = false, _ rows: [Row], names: FrameNames) {
        self.path = path
        self.isReport = isReport
        bytes = rows.reduce(0) { $0 &+ $1.bytes }
        blocks = rows.reduce(0) { $0 &+ $1.blocks }
        for row in rows {
            let signature = names.signature(of: row)
            let old = self.rows[signature] ?? (0, 0)
            self.rows[signature] = (old.bytes &+ row.bytes, old.blocks &+ row.blocks)
        }
    }
}

/// A row, and what it has grown by.
package struct CheckedRow {
    package var row: Row
    package var signature: String
    /// nil without a baseline.
    package var growthBytes: Int64?
}

package struct Check {
    package var verdicts: [CheckVerdict] = []
    /// All rows that count: the worst first, which is the largest growth where growth is what failed.
    package var rows: [CheckedRow] = []
    package var selection: RowSelection
    package var baseline: Baseline?

    package var passed: Bool { verdicts.allSatisfy(\.passed) }
    package var failures: [CheckVerdict] { verdicts.filter { !$0.passed } }
    /// Whether growth, and nothing else, is above its limit.
    package var isOfGrowth: Bool { !failures.isEmpty && failures.allSatisfy { $0.quantity == .growthBytes } }
    /// Whether lost blocks, and nothing else, are above their limit.
    package var isOfLost: Bool { !failures.isEmpty && failures.allSatisfy { $0.quantity == .definite } }
    /// The rows that a report of a failure names: where growth alone failed, those that grew; where lost blocks alone,
    /// those that have some.
    package var blamed: [CheckedRow] {
        if passed { return [] }
        if isOfLost { return rows.filter { $0.row.verdict?[.definite].blocks ?? 0 > 0 } }
        return isOfGrowth ? rows.filter { $0.growthBytes ?? 0 > 0 } : rows
    }

    /// Holds rows against limits. Without any limit nothing may be live.
    package init(
        _ selection: RowSelection, limits: [(quantity: CheckedQuantity, most: UInt64)], baseline: Baseline?,
        names: FrameNames
    ) {
        self.selection = selection
        self.baseline = baseline
        let sums = selection.passing
        var limits = limits
        if limits.isEmpty { limits = baseline == nil ? [(.blocks, 0)] : [(.growthBytes, 0)] }
        for (quantity, most) in limits {
            let value: Int64 =
                switch quantity {
                case .bytes: Int64(clamping: sums.bytes)
                case .blocks: Int64(clamping: sums.blocks)
                case .stacks: Int64(clamping: sums.rows)
                case .growthBytes: Int64(from: baseline?.bytes ?? 0, to: sums.bytes)
                case .definite:
                    Int64(clamping: selection.rows.reduce(0) { $0 &+ ($1.verdict?[.definite].bytes ?? 0) })
                }
            verdicts.append(CheckVerdict(quantity: quantity, most: most, value: value))
        }
        // Rows of one name share what the name had before, the larger first; what is left is the first one's loss.
        var before = baseline?.rows ?? [:]
        rows = selection.rows.map { row in
            let signature = names.signature(of: row)
            guard baseline != nil else { return CheckedRow(row: row, signature: signature) }
            let had = min(before[signature]?.bytes ?? 0, row.bytes)
            let shrunk = (before[signature]?.bytes ?? 0) - had
            before[signature]?.bytes = shrunk
            return CheckedRow(row: row, signature: signature, growthBytes: Int64(from: had, to: row.bytes))
        }
        if baseline != nil {
            for index in rows.indices {
                guard let shrunk = before.removeValue(forKey: rows[index].signature)?.bytes else { continue }
                rows[index].growthBytes =
                    (rows[index].growthBytes ?? 0).subtractingReportingOverflow(Int64(clamping: shrunk)).partialValue
            }
        }
        if isOfLost {
            func lost(_ index: Int) -> UInt64 { rows[index].row.verdict?[.definite].bytes ?? 0 }
            let order = rows.indices.sorted { (lost($0), $1) > (lost($1), $0) }
            rows = order.map { rows[$0] }
        }
        if isOfGrowth {
            let order = rows.indices.sorted { (rows[$0].growthBytes ?? 0, -$0) > (rows[$1].growthBytes ?? 0, -$1) }
            rows = order.map { rows[$0] }
        }
    }
}

extension FrameNames {
    /// What a row is called in another run or build: its key, or its functions, innermost first; where a function has
    /// no name, its module and offset. Addresses and lines are left out: they change with every build.
    package func signature(of row: Row) -> String {
        if let key = row.key { return key.text }
        return reduction.frames(of: row).flatMap(expanded).map { entry in
            if let function = entry.function { return function }
            return entry.frame.module == SpecialModule.thread ? "thread" : entry.text
        }.joined(separator: "\n")
    }
}
