// What grew, for people: first the sum and its shape, then the rows, largest growth first, each with its line over the
// moments, its rate, and the test's result.

import HeapImage
import Reduce
import Text
import Trend

/// Writes the table of several moments.
package struct GrowthTable {
    package var style: Style
    package var frameLimit: Int? = 20
    package var byBlocks = false

    package init(style: Style, frameLimit: Int? = 20, byBlocks: Bool = false) {
        self.style = style
        self.frameLimit = frameLimit
        self.byBlocks = byBlocks
    }

    package func write(_ growth: Growth, _ selection: GrowthSelection, names: FrameNames, to out: TextOutput) throws {
        let verdicts = GrowthVerdicts(growth, names: names)
        try writeHead(growth, selection, to: out)
        if let verdicts { try writeLost(verdicts, to: out) }
        if selection.rows.isEmpty {
            try out.write(
                "\n"
                    + (selection.filtered > 0
                        ? "No \(selection.grouping.noun) that changed passes the filters."
                        : "Nothing changed: each \(selection.grouping.noun) holds what it held.") + "\n")
        } else {
            try writeRows(growth, selection, verdicts, names, to: out)
        }
        if let verdicts { try writeVerdicts(verdicts, names: names, to: out) }
        try writeFoot(growth, selection, names, to: out)
    }

    // MARK: The head

    private func writeHead(_ growth: Growth, _ selection: GrowthSelection, to out: TextOutput) throws {
        guard let first = growth.moments.first, let last = growth.moments.last else { return }
        let span = style.bold("\(printable(first.label)) → \(printable(last.label))")
        let time = growth.seconds?.last.map { seconds in " over \(shortDuration(seconds))" } ?? ""
        try out.write("\(span) · \(growth.moments.count) moments\(time)\n")
        let total = selection.total
        let isUnknown = growth.reduction.totals.blocksOfUnknownSize > 0
        if isUnknown && growth.moments.allSatisfy({ $0.bytes == 0 }) {
            try out.write("bytes   not known\n")
        } else {
            let growth = style.bold(signed(total.row.growthBytes))
            let anHour = total.bytesAnHour.map { rate in "  (\(signed(Int64(clamped: rate))) an hour)" } ?? ""
            let which = isUnknown ? "  of the blocks whose size is known" : ""
            try out.write(
                "bytes   \(separated(first.bytes)) → \(separated(last.bytes))  \(growth)\(anHour)\(which)\n")
        }
        let growthOfBlocks = style.bold(signed(total.row.growthBlocks))
        try out.write("blocks  \(separated(first.blocks)) → \(separated(last.blocks))  \(growthOfBlocks)\n")
        if growth.moments.count > 2 {
            let line = sparkline(total.row.bytes.map { Double($0) }, width: 60)
            try out.write("        \(line)  \(shapeText(total.trend))\n")
        }
        if selection.steady > 0 {
            let what = counted(UInt64(selection.steady), selection.grouping.noun)
            let grow = selection.steady == 1 ? "grows" : "grow"
            try out.write(style.warning("\(what) \(grow) steadily.") + "\n")
        }
    }

    private func shapeText(_ trend: Trend) -> String {
        switch trend.shape {
        case .tooFew: "too few moments for a verdict (\(Trend.fewest) are needed)"
        case .steadyGrowth, .shrinking: "\(trend.shape.rawValue) (p \(probability(trend.pValue)))"
        default: trend.shape.rawValue
        }
    }

    // MARK: The rows

    private func writeRows(
        _ growth: Growth, _ selection: GrowthSelection, _ verdicts: GrowthVerdicts?, _ names: FrameNames,
        to out: TextOutput
    ) throws {
        let hasTimes = growth.seconds != nil, many = growth.moments.count > 2
        var titles = ["growth", "bytes", "blocks", "more blocks"]
        if hasTimes { titles.append("an hour") }
        // The stacks of a group each have their own verdict.
        let said = selection.grouping == .stack ? verdicts : nil
        if said != nil { titles.append("verdict") }
        let unknown = Set(growth.reduction.rows.lazy.filter { $0.blocksOfUnknownSize > 0 }.map(\.node))
        let cells = selection.rows.map { ranked -> [String] in
            let isUnknown = unknown.contains(ranked.row.node) && ranked.row.bytes.allSatisfy { $0 == 0 }
            var cells = [
                isUnknown ? "not known" : signed(ranked.row.growthBytes),
                isUnknown ? "not known" : separated(ranked.row.bytes.last ?? 0), separated(ranked.row.blocks.last ?? 0),
                signed(ranked.row.growthBlocks),
            ]
            if hasTimes { cells.append(ranked.bytesAnHour.map { signed(Int64(clamped: $0)) } ?? "-") }
            if let said { cells.append(Table.text(said.now[ranked.row.node] ?? said.before[ranked.row.node])) }
            return cells
        }
        let widths = titles.indices.map { column in max(titles[column].count, cells.map { $0[column].count }.max() ?? 0)
        }
        func line(_ texts: [String]) -> String {
            zip(texts, widths).map { leftPadded($0, $1) }.joined(separator: "   ")
        }
        let lines = many ? selection.rows.map { sparkline($0.row.bytes.map { Double($0) }) } : []
        let lineWidth = max(lines.map(\.count).max() ?? 0, 9)
        try out.write(
            "\n" + style.dim(line(titles) + (many ? "   \(padded("over time", lineWidth))   shape" : "")) + "\n")
        let table = Table(style: style, frameLimit: frameLimit)
        for (index, ranked) in selection.rows.enumerated() {
            let first = leftPadded(cells[index][0], widths[0])
            var text = style.bold(first) + line(cells[index]).dropFirst(first.count)
            if many {
                let shape = ranked.trend.shape.rawValue
                text +=
                    "   \(padded(lines[index], lineWidth))   "
                    + (ranked.trend.shape == .steadyGrowth ? style.warning(shape) : shape)
            }
            try out.write(text + "\n")
            try table.writeFrames(growth.reduction.tree.frames(of: ranked.row.node), names, to: out)
            try out.write("\n")
        }
    }

    // MARK: The foot

    private func writeFoot(
        _ growth: Growth, _ selection: GrowthSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        let noun = selection.grouping.noun
        if selection.below > 0 {
            try out.write(
                "Not shown: \(counted(UInt64(selection.below), "more \(noun)")) that changed, "
                    + "+\(separated(selection.belowGrown)) and "
                    + "-\(separated(selection.belowShrunk)) bytes (--top \(selection.below + selection.rows.count) "
                    + "shows all).\n"
            )
        }
        if selection.unchanged > 0 {
            try out.write(
                "Unchanged: \(counted(UInt64(selection.unchanged), noun)) with \(separated(selection.unchangedBytes)) "
                    + "bytes.\n"
            )
        }
        if selection.filtered > 0 { try out.write("Filtered out: \(counted(UInt64(selection.filtered), noun)).\n") }
        if growth.seconds == nil {
            try out.write(
                "No rates: "
                    + (growth.moments.contains { $0.unixSeconds == nil }
                        ? "not all moments have a time.\n" : "the moments are not in the order of their times.\n"))
        }
        for warning in Table.warnings(growth.reduction, names) { try out.write(style.warning(warning) + "\n") }
    }
}

/// A number with its sign and thousands separators; 0 without.
package func signed(_ value: Int64) -> String {
    value == 0 ? "0" : (value > 0 ? "+" : "-") + separated(value.magnitude)
}

/// A probability with two significant digits.
package func probability(_ value: Double) -> String {
    if value < 0.0001 { return "< 0.0001" }
    let digits = Int((value * 10_000).rounded())
    let text = "0." + String(digits + 10_000).dropFirst()
    return value >= 1 ? "1" : text
}

extension Int64 {
    /// The nearest integer; 0 if it is not a number.
    package init(clamped value: Double) {
        if value.isNaN {
            self = 0
        } else {
            self = value >= 9.2e18 ? .max : value <= -9.2e18 ? .min : Int64(value.rounded())
        }
    }
}
