// The table for people: largest stack first, its frames below it, the program's own frames bright and start-up code
// dim. What is not shown and what was lost is said at the end.

import HeapImage
import Reduce
import Text

/// Writes the table of a reduction.
package struct Table {
    package var style: Style
    /// At most this many frames of a stack are shown; nil: all.
    package var frameLimit: Int? = 20
    package var sort: SortKey = .bytes
    /// At most this many rows of mappings are shown; nil: all.
    package var mappedLimit: Int? = 5
    /// Shown below each row, by its node, and for all rows at the end.
    package var distributions: (all: Distributions, rows: [UInt32: Distributions])?

    package init(style: Style, frameLimit: Int? = 20, sort: SortKey = .bytes) {
        self.style = style
        self.frameLimit = frameLimit
        self.sort = sort
    }

    package func write(_ reduction: Reduction, _ selection: RowSelection, names: FrameNames, to out: TextOutput) throws
    {
        try writeHead(reduction, selection, to: out)
        if selection.rows.isEmpty {
            let why =
                reduction.totals.liveBlocks == 0
                ? "Nothing is live: every block that was booked has been freed."
                : "No \(selection.grouping.noun) passes the filters."
            try out.write("\n\(why)\n")
        } else {
            try writeRows(reduction, selection, names, to: out)
        }
        if let distributions, !distributions.all.isEmpty {
            try out.write((selection.rows.isEmpty ? "\n" : "") + style.bold("All blocks") + "\n")
            try HistogramText(style: style).write(distributions.all, to: out)
            try out.write("\n")
        }
        try writeMapped(reduction, selection, names, to: out)
        try writeFoot(reduction, selection, names, to: out)
    }

    // MARK: The head

    /// At most this many inputs are listed separately.
    private static let headLimit = 8

    func writeHead(_ reduction: Reduction, _ selection: RowSelection, to out: TextOutput) throws {
        // A build's directory has hundreds of images; only those that hold the most are listed.
        let inputs =
            reduction.inputs.count <= Self.headLimit
            ? reduction.inputs
            : Array(reduction.inputs.sorted { $0.bytes > $1.bytes }.prefix(Self.headLimit))
        for input in inputs {
            var words: [String] = []
            words.append(style.bold(printable(input.program ?? input.path)))
            if let pid = input.processID { words.append("pid \(pid)") }
            words.append(input.stateText)
            if input.kind == "dump" { words.append("dump") }
            if reduction.inputs.count > 1 { words.append("\(separated(input.bytes)) bytes live") }
            try out.write(words.joined(separator: " · ") + "\n")
        }
        if inputs.count < reduction.inputs.count {
            let shown = inputs.reduce(0) { $0 &+ $1.bytes }, all = reduction.inputs.reduce(0) { $0 &+ $1.bytes }
            try out.write(
                style.dim(
                    "… and \(separated(UInt64(reduction.inputs.count - inputs.count))) more with "
                        + "\(separated(all &- shown)) bytes live"
                ) + "\n")
        }
        let totals = reduction.totals
        let known = Self.bytes(totals.liveBytes, unknown: totals.blocksOfUnknownSize, of: totals.liveBlocks)
        let bytes = Self.estimate(style.bold(separated(totals.liveBytes)), totals.variance?.errorBytes)
        let blocks =
            totals.variance.map { "\(Self.estimate(separated(totals.liveBlocks), $0.errorBlocks)) blocks" }
            ?? counted(totals.liveBlocks, "block")
        var words = [
            totals.blocksOfUnknownSize == 0
                ? "\(bytes) bytes live in \(blocks)"
                : "\(style.bold(known)) "
                    + "\(totals.liveBytes == 0 ? "how many bytes are" : "bytes") live in "
                    + "\(counted(totals.liveBlocks, "block"))"
        ]
        if let peak = totals.peakBytes { words.append("peak \(separated(peak)) bytes") }
        words.append(counted(UInt64(totals.uniqueStacks), "stack"))
        try out.write(words.joined(separator: " · ") + "\n")
        if let text = selection.blocks.text {
            let passing = selection.passing
            try out.write(
                "Here: \(text): \(style.bold(separated(passing.bytes))) bytes in \(counted(passing.blocks, "block")) · "
                    + "\(counted(UInt64(passing.rows), selection.grouping.noun))\n")
        }
    }
}
