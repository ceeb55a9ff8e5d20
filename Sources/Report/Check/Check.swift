// A check: limits, the measured values, and the rows that are to blame. All formats show the same check; nothing here
// prints.

import HeapImage
import Reduce

/// The quantities that a check can limit.
package enum CheckedQuantity: String, CaseIterable, Sendable {
    case bytes = "max-bytes"
    case blocks = "max-blocks"
    case stacks = "max-stacks"
    case growthBytes = "max-growth-bytes"
    case definite = "max-definite"

    /// As text, for rows by `grouping`.
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

/// One limit and its measured value.
package struct CheckVerdict: Equatable, Sendable {
    package var quantity: CheckedQuantity
    package var most: UInt64
    /// Growth may be below zero.
    package var value: Int64

    package var passed: Bool { value <= 0 || UInt64(value) <= most }
    /// How far the value is above the limit.
    package var excess: UInt64 { passed ? 0 : UInt64(value) - most }
}

/// The earlier state.
package struct Baseline {
    package var path: String
    package var bytes: UInt64
    package var blocks: UInt64
    /// By the row's signature; see `FrameNames.signature`.
    package var rows: [String: (bytes: UInt64, blocks: UInt64)] = [:]
    /// Whether it was a report in JSON, which `heapsum diff` can't take.
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

/// A row and its growth.
package struct CheckedRow {
    package var row: Row
    package var signature: String
    /// nil without a baseline.
    package var growthBytes: Int64?
}

package struct Check {
    package var verdicts: [CheckVerdict] = []
    /// All rows that count, worst first: by growth if growth failed.
    package var rows: [CheckedRow] = []
    package var selection: RowSelection
    package var baseline: Baseline?

    package var passed: Bool { verdicts.allSatisfy(\.passed) }
    package var failures: [CheckVerdict] { verdicts.filter { !$0.passed } }
    /// Whether growth, and nothing else, is above its limit.
    package var isOfGrowth: Bool { !failures.isEmpty && failures.allSatisfy { $0.quantity == .growthBytes } }
    /// Whether lost blocks, and nothing else, are above their limit.
    package var isOfLost: Bool { !failures.isEmpty && failures.allSatisfy { $0.quantity == .definite } }
    /// The rows that a failed check names: if only growth failed, those that grew; if only lost blocks, those that have
    /// some.
    package var blamed: [CheckedRow] {
        if passed { return [] }
        if isOfLost { return rows.filter { $0.row.verdict?[.definite].blocks ?? 0 > 0 } }
        return isOfGrowth ? rows.filter { $0.growthBytes ?? 0 > 0 } : rows
    }

    /// Compares rows with limits. Without any limit, nothing may be live.
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
        // Rows with one signature share its earlier bytes, the larger row first. The rest counts as the first row's
        // decrease.
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
    /// A row's name that is the same in another run or build: its key, or its functions, innermost first (module and
    /// offset for a function without a name). Addresses and lines are left out because they change with every build.
    package func signature(of row: Row) -> String {
        if let key = row.key { return key.text }
        return reduction.frames(of: row).flatMap(expanded).map { entry in
            if let function = entry.function { return function }
            return entry.frame.module == SpecialModule.thread ? "thread" : entry.text
        }.joined(separator: "\n")
    }
}
