// A check for people, on a terminal or in a build's log: which limit was exceeded, by how much, by whom, and what to do
// next.

import Reduce
import Text

extension Check {
    /// "live bytes: 129,304 (at most 0 allowed, 129,304 too many)".
    package func sentence(_ verdict: CheckVerdict) -> String {
        let name = verdict.quantity.text(selection.grouping)
        let value = Self.signed(verdict.value)
        if verdict.passed { return "\(name): \(value) (at most \(separated(verdict.most)) allowed)" }
        return "\(name): \(value) (at most \(separated(verdict.most)) allowed, \(separated(verdict.excess)) too many)"
    }

    static func signed(_ value: Int64) -> String { (value < 0 ? "-" : "") + separated(value.magnitude) }

    /// "129,280 bytes in 1,010 blocks", and the growth.
    func sentence(_ row: CheckedRow) -> String {
        "\(Table.bytes(row.row.bytes, unknown: row.row.blocksOfUnknownSize, of: row.row.blocks)) bytes in "
            + "\(counted(row.row.blocks, "block"))"
            + (row.row.verdict.map { ": " + Table.text($0) } ?? "")
            + (row.growthBytes.map { ", grown by \(Self.signed($0))" } ?? "")
    }
}

/// Writes the check as text.
package struct CheckText {
    package var style: Style
    package var frameLimit: Int?
    /// At most this many rows are shown; nil: all.
    package var top: Int?
    /// The next commands to type, complete.
    package var next: [String] = []

    package init(style: Style, frameLimit: Int?, top: Int?) {
        self.style = style
        self.frameLimit = frameLimit
        self.top = top
    }

    package func write(_ check: Check, _ reduction: Reduction, names: FrameNames, to out: TextOutput) throws {
        let failed = check.failures.count
        try out.write(style.bold("heapsum check: " + (check.passed ? "passed" : "FAILED")) + "\n")
        for verdict in check.verdicts {
            let word = padded(verdict.passed ? "ok" : "FAILED", failed > 0 ? 6 : 2)
            try out.write("  \(verdict.passed ? word : style.warning(word))  \(check.sentence(verdict))\n")
        }
        let checked = reduction.inputs.prefix(3).map { input in
            printable(input.program ?? input.path) + (input.processID.map { " (pid \($0))" } ?? "")
        }
        let more = reduction.inputs.count - checked.count
        try out.write(
            "  " + style.dim("checked: " + checked.joined(separator: ", ") + (more > 0 ? " and \(more) more" : ""))
                + "\n")
        if let baseline = check.baseline {
            try out.write(
                "  "
                    + style.dim(
                        "before: \(separated(baseline.bytes)) bytes in \(counted(baseline.blocks, "block")), "
                            + "\(printable(baseline.path))"
                    ) + "\n")
        }
        if reduction.isSampled {
            let error = reduction.totals.variance?.errorBytes ?? 0
            try out.write(
                "  Held against estimates of a sampled recording: live bytes are right to ± \(Table.rounded(error)), "
                    + "and what is small may be missing.\n")
        }
        if let text = check.selection.blocks.text { try out.write("  Counted: \(text).\n") }
        if check.selection.filteredBytes > 0 || check.selection.filtered > 0 {
            try out.write(
                "  Not counted, by the filters: \(counted(UInt64(check.selection.filtered), "stack")) with "
                    + "\(separated(check.selection.filteredBytes)) bytes.\n"
            )
        }
        if check.selection.small > 0 {
            try out.write(
                "  Not counted, below --min-bytes: \(separated(UInt64(check.selection.small))) with "
                    + "\(separated(check.selection.smallBytes)) bytes.\n"
            )
        }
        let table = Table(style: style, frameLimit: frameLimit)
        let blamed = check.blamed
        if !blamed.isEmpty {
            let shown = blamed.prefix(top ?? .max)
            try out.write(
                "\n"
                    + style.dim(
                        check.isOfGrowth
                            ? "What grew the most:" : check.isOfLost ? "What is lost:" : "What holds the most:")
                    + "\n\n")
            for row in shown {
                if let key = row.row.key {
                    try out.write("  \(style.bold(check.sentence(row)))  \(printable(key.label))\n")
                    continue
                }
                try out.write("  \(style.bold(check.sentence(row)))\n")
                try table.writeFrames(reduction.frames(of: row.row), names, to: out)
                try out.write("\n")
            }
            if blamed.count > shown.count {
                let bytes = blamed.dropFirst(shown.count).reduce(0 as UInt64) { $0 &+ $1.row.bytes }
                try out.write(
                    "Not shown: "
                        + "\(counted(UInt64(blamed.count - shown.count), "more \(check.selection.grouping.noun)")) "
                        + "with \(separated(bytes)) bytes (--top 0 shows all).\n"
                )
            }
        }
        let notes = Table.notes(reduction, check.selection) + Table.warnings(reduction, names)
        if !notes.isEmpty && blamed.isEmpty { try out.write("\n") }
        for line in notes { try out.write(line + "\n") }
        if !check.passed { for line in next { try out.write(style.dim(line) + "\n") } }
    }
}
