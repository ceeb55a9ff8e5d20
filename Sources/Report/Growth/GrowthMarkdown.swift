// Growth as Markdown, for the summary of a build: the sums, the stacks that grew the most, and a differential flame
// graph in text, since such a summary shows no pictures of its own.

import Reduce
import Text

extension GrowthSelection {
    /// Lines of the flame graph, and the least share of all changes that a call in it has.
    private static let mostLines = 40
    private static let leastShare = 0.01
    private static let barWidth = 20

    /// Writes GitHub's Markdown, which GitLab's understands too. Names are escaped for it.
    ///
    /// - Parameter top: rows of the table; the flame graph is of all.
    /// - Complexity: O(rows * frames)
    package func writeMarkdown(
        _ growth: Growth, top: Int?, frameLimit: Int?, names: FrameNames, to out: TextOutput
    ) throws {
        let (bytes, blocks) = (total.row.bytes, total.row.blocks)
        let share = Double(total.row.growthBytes) * 100 / Double(max(bytes.first ?? 0, 1))
        let percent = bytes.first ?? 0 > 0 ? " (\(share < 0 ? "-" : "+")\(Self.tenths(share.magnitude)) %)" : ""
        try out.write("### Heap: \(Self.signed(total.row.growthBytes)) bytes live at the end\(percent)\n\n")
        try out.write("| | before | now | growth |\n|---|---:|---:|---:|\n")
        for (name, values, more) in [
            ("bytes", bytes, total.row.growthBytes), ("blocks", blocks, total.row.growthBlocks),
        ] {
            try out.write(
                "| \(name) | \(separated(values.first ?? 0)) | \(separated(values.last ?? 0)) "
                    + "| \(Self.signed(more)) |\n"
            )
        }
        if rows.isEmpty {
            try out.write("\nNo \(grouping.noun) changed.\n")
            return
        }
        let shown = rows.prefix(top ?? rows.count)
        try out.write("\n| growth | blocks | \(grouping.noun) |\n|---:|---:|---|\n")
        for ranked in shown {
            let stack = ranked.row.key.map { printable($0.label) } ?? names.shortStack(ranked.row.node)
            try out.write(
                "| \(Self.signed(ranked.row.growthBytes)) | \(Self.signed(ranked.row.growthBlocks)) "
                    + "| \(Self.code(stack)) |\n")
        }
        if rows.count > shown.count {
            try out.write("\n\(counted(UInt64(rows.count - shown.count), "more \(grouping.noun)")) changed.\n")
        }
        if grouping == .stack { try writeFlames(growth, frameLimit, names, to: out) }
    }

    // MARK: The flame graph

    /// A call: what grew and what shrank below it, and its callees.
    private struct Call {
        var name: String
        var grown: UInt64 = 0
        var shrunk: UInt64 = 0
        var callees: [Int] = []
    }

    private func writeFlames(
        _ growth: Growth, _ frameLimit: Int?, _ names: FrameNames, to out: TextOutput
    ) throws {
        var calls = [Call(name: "all")]
        var places: [Int: [String: Int]] = [:]
        for ranked in rows {
            let change = ranked.row.growthBytes
            func add(_ place: Int) {
                if change >= 0 {
                    calls[place].grown &+= change.magnitude
                } else {
                    calls[place].shrunk &+= change.magnitude
                }
            }
            add(0)
            var place = 0
            let entries = names.expanded(growth.reduction.tree.frames(of: ranked.row.node), limit: frameLimit).entries
            for entry in entries.reversed() where !entry.isStartup {
                let name = entry.function.map(printable) ?? entry.text
                if let known = places[place]?[name] {
                    place = known
                } else {
                    calls.append(Call(name: name))
                    calls[place].callees.append(calls.count - 1)
                    places[place, default: [:]][name] = calls.count - 1
                    place = calls.count - 1
                }
                add(place)
            }
        }
        // Too small ones are left out, and what is deepest if there are too many.
        let widest = max(calls[0].grown, calls[0].shrunk, 1)
        func size(_ place: Int) -> UInt64 { max(calls[place].grown, calls[place].shrunk) }
        var lines: [(depth: Int, place: Int)] = []
        var open = [(depth: 0, place: 0)]
        while let next = open.popLast() {
            lines.append(next)
            let callees = calls[next.place].callees.filter { Double(size($0)) >= Double(widest) * Self.leastShare }
            open += callees.sorted { (size($0), $1) < (size($1), $0) }.map { (next.depth + 1, $0) }
        }
        let kept = lines.prefix(Self.mostLines)
        let amounts = kept.map { Self.amount(calls[$0.place].grown, calls[$0.place].shrunk) }
        let width = amounts.map(\.count).max() ?? 0
        let bars = kept.map { line in
            let call = calls[line.place]
            return String(repeating: "█", count: Self.cells(call.grown, of: widest))
                + String(repeating: "░", count: Self.cells(call.shrunk, of: widest))
        }
        let room = bars.map(\.count).max() ?? 0
        // Four backquotes: a name may have three.
        try out.write("\nWhat grew (█) and shrank (░), callers above their callees, in bytes:\n\n````text\n")
        for (index, line) in kept.enumerated() {
            let name = calls[line.place].name.replacing("````", with: "'")
            try out.write(
                bars[index] + String(repeating: " ", count: room - bars[index].count + 1)
                    + leftPadded(amounts[index], width) + "  " + String(repeating: "  ", count: line.depth) + name
                    + "\n")
        }
        if lines.count > kept.count { try out.write("… \(counted(UInt64(lines.count - kept.count), "more call"))\n") }
        try out.write("````\n")
    }

    /// A change is never without a cell.
    private static func cells(_ bytes: UInt64, of widest: UInt64) -> Int {
        bytes == 0 ? 0 : max(1, Int(Double(bytes) / Double(widest) * Double(barWidth) + 0.5))
    }

    private static func amount(_ grown: UInt64, _ shrunk: UInt64) -> String {
        let texts = [grown > 0 ? "+" + separated(grown) : "", shrunk > 0 ? "-" + separated(shrunk) : ""]
        let text = texts.filter { !$0.isEmpty }.joined(separator: " ")
        return text.isEmpty ? "0" : text
    }

    // MARK: Text

    private static func signed(_ value: Int64) -> String {
        (value < 0 ? "-" : value > 0 ? "+" : "") + separated(value.magnitude)
    }

    private static func tenths(_ value: Double) -> String {
        let whole = UInt64(min(value * 10 + 0.5, 1e15))
        return separated(whole / 10) + ".\(whole % 10)"
    }

    /// Code in a cell of a table: nothing in it is Markdown or HTML.
    private static func code(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "|": result += "&#124;"
            case "`": result += "&#96;"
            case "*": result += "&#42;"
            case "_": result += "&#95;"
            case "[": result += "&#91;"
            case "]": result += "&#93;"
            case "\\": result += "&#92;"
            default: result.append(character)
            }
        }
        return "<code>\(result)</code>"
    }
}

extension FrameNames {
    /// Rows of several moments; those of stacks with the same functions become one, which stands for the newest build.
    ///
    /// - Complexity: O(rows * frames)
    func acrossBuilds(_ rows: [GrowthRow]) -> [GrowthRow] {
        prepare(rows.map { Row(node: $0.node) })
        var places: [String: Int] = [:]
        var folded: [GrowthRow] = []
        for row in rows {
            let signature = signature(of: Row(node: row.node))
            guard let place = places[signature] else {
                places[signature] = folded.count
                folded.append(row)
                continue
            }
            for moment in row.bytes.indices {
                folded[place].bytes[moment] &+= row.bytes[moment]
                folded[place].blocks[moment] &+= row.blocks[moment]
            }
            if row.blocks.last ?? 0 > 0 { folded[place].node = row.node }
        }
        return folded
    }
}
