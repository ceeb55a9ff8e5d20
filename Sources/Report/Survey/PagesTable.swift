// The survey of an allocator's pages for people.

import HeapImage
import Reduce
import Survey
import Text

/// Writes the report for people.
package struct PagesTable {
    package var style: Style
    package var frameLimit: Int? = 20
    package var rowLimit: Int? = 20

    package init(style: Style) { self.style = style }

    package func write(_ report: PagesReport, _ memory: MemoryVerdict?, to out: TextOutput) throws {
        try writeHead(report, to: out)
        try writeOccupancy(report, to: out)
        try writeArenas(report, to: out)
        try writeSizes(report, to: out)
        try writeRows(report, to: out)
        try out.write("\n")
        let lines = (memory.map { ["All of the process: \($0.text)."] } ?? []) + report.advice
        for line in lines { try out.write(Self.wrapped(line, style.width ?? 100) + "\n") }
        for note in report.survey.notes { try out.write(style.warning("Note: \(printable(note)).") + "\n") }
        for line in Table.nameWarnings(report.names) { try out.write(style.warning(line) + "\n") }
    }

    private func writeHead(_ report: PagesReport, to out: TextOutput) throws {
        let survey = report.survey, whole = survey.sums.resident
        if let input = report.reduction.inputs.first {
            var words = [style.bold(printable(input.program ?? input.path)), input.processID.map { "pid \($0)" } ?? ""]
            if survey.hasResidency {
                words.append("read in \(shortDuration(Double(survey.nanoseconds) / 1e9)) while it ran")
            }
            try out.write(words.joined(separator: " · ") + "\n\n")
        }
        if let earlier = survey.earlier, !earlier.isWhole {
            let text =
                "Blocks \(earlier.origin) can't \(earlier.sums.blocks > 0 ? "all " : "")be told from free memory "
                + "(\(earlier.why)): what is called free, pinned or in caches below may be theirs."
            try out.write(style.warning(Self.wrapped(printable(text), style.width ?? 100)) + "\n\n")
        }
        let pages = counted(whole / survey.pageBytes, "page")
        var lines = [
            (
                whole,
                survey.hasResidency
                    ? "resident: the allocator's memory, \(pages)"
                    : survey.isOfEnd
                        ? "resident at the end: \(pages) with live blocks" : "on \(pages) with live blocks"
            )
        ]
        lines += report.parts.filter { $0.bytes > 0 || $0.name == "trimmableBytes" }.map { ($0.bytes, $0.text) }
        let width = max(5, separated(whole).count)
        try out.write(style.dim("\(leftPadded("bytes", width))    share") + "\n")
        for (index, (bytes, text)) in lines.enumerated() {
            let line =
                "\(leftPadded(separated(bytes), width))   \(leftPadded(PagesReport.share(bytes, whole), 6))  \(text)"
            try out.write((index == 0 ? style.bold(line) : line) + "\n")
        }
        if survey.swappedBytes > 0 {
            try out.write("\(leftPadded(separated(survey.swappedBytes), width))           swapped out, in addition\n")
        }
    }

    private func writeOccupancy(_ report: PagesReport, to out: TextOutput) throws {
        let all = report.survey.occupancy, whole = report.survey.sums.resident
        guard whole > 0 else { return }
        let rows = Occupancy.allCases.map { kind -> [String] in
            let sums = all[kind.rawValue]
            return [
                PagesReport.text(kind), separated(sums.pages),
                PagesReport.share(sums.pages * report.survey.pageBytes, whole),
                separated(sums.used),
            ]
        }
        try writeColumns(["live blocks take", "pages", "share", "bytes of live blocks"], rows, to: out)
    }

    private func writeArenas(_ report: PagesReport, to out: TextOutput) throws {
        let arenas = report.arenas
        guard report.survey.hasResidency, arenas.count > 1 else { return }
        let shown = arenas.prefix(12)
        var rows = shown.map { row(PagesReport.text($0), $0.sums) }
        if arenas.count > shown.count {
            let rest = arenas[shown.count...].reduce(into: PageSums()) { $0 += $1.sums }
            rows.append(row("\(arenas.count - shown.count) more", rest))
        }
        try writeColumns(["where", "resident", "live", "pinned", "other free"], rows, to: out)
    }

    private func row(_ name: String, _ sums: PageSums) -> [String] {
        [name, separated(sums.resident), separated(sums.live), separated(sums.pinned), separated(sums.untouched)]
    }

    private func writeSizes(_ report: PagesReport, to out: TextOutput) throws {
        let rows = report.sizes.prefix(8).map { sizes, sums in
            [
                "\(separated(sizes.lowerBound)) to \(separated(sizes.upperBound))", separated(sums.blocks),
                separated(sums.live), separated(sums.pinned),
            ]
        }
        if rows.count > 1 { try writeColumns(["bytes of a block", "blocks", "live", "pinned"], rows, to: out) }
    }

    /// A table whose first column is text, and whose others are numbers.
    private func writeColumns(_ heading: [String], _ rows: [[String]], to out: TextOutput) throws {
        let widths = heading.indices.map { column in ([heading] + rows).map { $0[column].count }.max() ?? 0 }
        func line(_ cells: [String]) -> String {
            padded(cells[0], widths[0])
                + cells.indices.dropFirst().map { "   " + leftPadded(cells[$0], widths[$0]) }.joined()
        }
        try out.write("\n" + style.dim(line(heading)) + "\n")
        for row in rows { try out.write(line(row) + "\n") }
    }

    private func writeRows(_ report: PagesReport, to out: TextOutput) throws {
        let rows = rowLimit.map { Array(report.rows.prefix($0)) } ?? report.rows
        report.names.prepare(rows.map { Row(node: $0.node) })
        let heading = ["pins", "holds", "blocks", "alone on"]
        let cells = rows.map {
            [separated($0.sums.pinned), separated($0.sums.live), separated($0.sums.blocks), separated($0.sums.alone)]
        }
        let widths = heading.indices.map { column in ([heading] + cells).map { $0[column].count }.max() ?? 0 }
        func line(_ cells: [String]) -> String {
            cells.indices.map { leftPadded(cells[$0], widths[$0]) }.joined(separator: "   ")
        }
        try out.write("\n" + style.dim(line(heading)) + "\n")
        let table = Table(style: style, frameLimit: frameLimit)
        for (index, row) in rows.enumerated() {
            try out.write(style.bold(line(cells[index])) + "\n")
            try table.writeFrames(report.reduction.frames(of: Row(node: row.node)), report.names, to: out)
            try out.write("\n")
        }
        if let earlier = report.survey.earlier, earlier.sums.blocks > 0 {
            let sums = earlier.sums
            let cells = [sums.pinned, sums.live, sums.blocks, sums.alone].map(separated)
            try out.write(
                style.bold(line(cells)) + "\n    (no stack: blocks \(printable(earlier.origin)))\n\n")
        }
        let left = report.rows.dropFirst(rows.count)
        if !left.isEmpty {
            let pinned = left.reduce(0) { $0 &+ $1.sums.pinned }
            try out.write(
                "Not shown: \(counted(UInt64(left.count), "stack")) with \(separated(pinned)) pinned bytes "
                    + "(--top 0 shows all).\n")
        }
        try out.write(
            style.dim(
                "pins: its part of the free bytes on its pages; holds: its live bytes in memory; alone on: pages that\n"
                    + "only its blocks keep") + "\n")
    }

    /// Lines of at most `width` characters, those after the first indented.
    static func wrapped(_ text: String, _ width: Int) -> String {
        var lines: [String] = [], line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty && line.count + 1 + word.count > max(width, 40) {
                lines.append(line)
                line = "  " + word
            } else {
                line += (line.isEmpty ? "" : " ") + word
            }
        }
        return (lines + [line]).joined(separator: "\n")
    }
}
