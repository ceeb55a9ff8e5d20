// The report on leaks for people: the sums by verdict, the rows, what was missing; a path; a block; the holders.

import HeapImage
import Leaks
import Proc
import Reduce
import Text

/// Writes the report for people.
package struct LeakTable {
    package var style: Style
    package var frameLimit: Int? = 20
    package var rowLimit: Int? = 20
    package var shown: Set<Verdict> = [.definite, .indirect, .possible]

    package init(style: Style) { self.style = style }

    package func write(_ report: LeakSummary, to out: TextOutput) throws {
        try writeHead(report, to: out)
        let rows = report.rows.filter { shown.contains($0.verdict) }
        let written = rowLimit.map { Array(rows.prefix($0)) } ?? rows
        report.names.prepare(written.map { Row(node: $0.node) })
        if rows.isEmpty {
            try out.write(
                "\nNo block is \(Verdict.shown.filter { shown.contains($0) }.map(\.text).joined(separator: ", ")).\n")
        } else {
            try writeRows(written, report, to: out)
        }
        let left = rows.dropFirst(written.count)
        if !left.isEmpty {
            try out.write(
                "Not shown: \(counted(UInt64(left.count), "smaller row")) with "
                    + "\(separated(left.reduce(0) { $0 + $1.own.bytes })) bytes (--top 0 shows all).\n"
            )
        }
        try writeFoot(report, to: out)
    }

    package func writeHead(_ report: LeakSummary, to out: TextOutput) throws {
        if let input = report.reduction.inputs.first {
            var words = [style.bold(printable(input.program ?? input.path)), input.processID.map { "pid \($0)" } ?? ""]
            if report.pauseNanoseconds > 0 {
                words.append("stood still for \(Self.milliseconds(report.pauseNanoseconds))")
            }
            try out.write(words.joined(separator: " · ") + "\n")
        }
        let totals = Verdict.shown.map { (verdict: $0, amount: report.totals[$0] ?? Amount()) }
        let blocks = totals.map { separated($0.amount.blocks) }, bytes = totals.map { separated($0.amount.bytes) }
        let widths = (max(6, blocks.map(\.count).max() ?? 0), max(5, bytes.map(\.count).max() ?? 0))
        try out.write(
            "\n" + style.dim("             \(leftPadded("blocks", widths.0))   \(leftPadded("bytes", widths.1))") + "\n"
        )
        for (index, total) in totals.enumerated() {
            let line =
                "\(padded(Self.title(total.verdict), 12)) \(leftPadded(blocks[index], widths.0))   "
                + "\(leftPadded(bytes[index], widths.1))"
            try out.write((total.verdict == .definite && total.amount.blocks > 0 ? style.bold(line) : line) + "\n")
        }
    }

    static func title(_ verdict: Verdict) -> String { verdict.text }

    static func milliseconds(_ nanoseconds: UInt64) -> String {
        let tenths = (nanoseconds + 50_000) / 100_000
        return "\(tenths / 10).\(tenths % 10) ms"
    }

    private func writeRows(_ rows: [LeakRow], _ report: LeakSummary, to out: TextOutput) throws {
        let bytes = rows.map { separated($0.own.bytes) }, blocks = rows.map { separated($0.own.blocks) }
        let widths = (max(5, bytes.map(\.count).max() ?? 0), max(6, blocks.map(\.count).max() ?? 0))
        try out.write(
            "\n" + style.dim("\(leftPadded("bytes", widths.0))   \(leftPadded("blocks", widths.1))   verdict") + "\n")
        let table = Table(style: style, frameLimit: frameLimit)
        for (index, row) in rows.enumerated() {
            var line =
                "\(style.bold(leftPadded(bytes[index], widths.0)))   \(leftPadded(blocks[index], widths.1))   "
                + "\(row.verdict.text)"
            if row.dragged.blocks > 0 {
                line +=
                    ", and drags along \(separated(row.dragged.bytes)) bytes in \(counted(row.dragged.blocks, "block"))"
            }
            try out.write(
                line
                    + style.dim(
                        row.own.blocks == 1
                            ? "   \(hexadecimal(row.example))" : "   the first at \(hexadecimal(row.example))") + "\n")
            try table.writeFrames(report.reduction.frames(of: Row(node: row.node)), report.names, to: out)
            try out.write("\n")
        }
    }

    package func writeFoot(_ report: LeakSummary, to out: TextOutput) throws {
        for line in Self.warnings(report) { try out.write(style.warning(line) + "\n") }
        guard let row = report.rows.first(where: { shown.contains($0.verdict) }) else { return }
        try out.write(
            style.dim(
                report.isStored
                    ? "Next: --holders shows who holds the rest. Only the running program can show what is in a block."
                    : "Next: --show-block \(hexadecimal(row.example)) shows what is in it; --why ADDRESS shows who "
                        + "holds a block; --holders who holds the rest.") + "\n")
    }

    /// What a reader of any form of the report should know.
    package static func warnings(_ report: LeakSummary) -> [String] {
        var lines: [String] = []
        if !report.notRead.isEmpty {
            lines.append("Not whole: what only these could hold is called possible, and no block definite:")
            for text in report.notRead.prefix(8) { lines.append("  not read: \(printable(text))") }
            if report.notRead.count > 8 { lines.append("  and \(report.notRead.count - 8) more") }
        }
        lines += report.notes.map { "Note: \(printable($0))." }
        return lines + Table.nameWarnings(report.names)
    }

    // MARK: One block

    /// The path from a root to a block.
    package func writeWhy(_ block: Int, _ report: LeakReport, to out: TextOutput) throws {
        let verdict = report.verdict, path = verdict.path(to: block)
        try out.write("\(style.bold(report.text(ofBlock: block))): \(verdict.verdict(block).text)\n")
        guard let root = path.root else {
            let why: String =
                switch verdict.verdict(block) {
                case .indirect: "Only lost blocks lead to it."
                case .possible where verdict.isLenient:
                    "What could not be read may hold it, or what leads to it is itself only possibly held."
                case .possible:
                    "An unaligned, marked or mangled pointer leads to it, or what leads to it is itself only possibly "
                        + "held."
                default:
                    verdict.dragged[UInt32(block)] == nil
                        ? "No pointer leads to it."
                        : "No pointer leads to it, but for those of a cycle, in what it drags along."
                }
            try out.write("  \(why)\n")
            return
        }
        try out.write("  \(report.text(ofRoot: root))\n")
        for (index, step) in path.blocks.enumerated() {
            let indent = String(repeating: "  ", count: min(index, 20) + 1)
            let at = index > 0 ? path.offsets[index - 1].map { " +\($0)" } ?? "" : ""
            try out.write("\(indent)\(at.isEmpty ? "" : at.dropFirst() + " ")→ \(report.text(ofBlock: step))\n")
        }
    }

    /// The first bytes of a block in hexadecimal and text, and what its words point to.
    package func writeBlock(_ block: Int, _ report: LeakReport, limit: Int = 256, to out: TextOutput) throws {
        let verdict = report.verdict, start = verdict.table.start(block)
        try out.write("\(style.bold(report.text(ofBlock: block))): \(verdict.verdict(block).text)\n")
        let bytes = verdict.head(of: block, limit: limit)
        for line in stride(from: 0, to: bytes.count, by: 16) {
            let part = bytes[line ..< min(line + 16, bytes.count)]
            let hexes = part.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
            let text = String(decoding: part.map { $0 >= 0x20 && $0 < 0x7F ? $0 : UInt8(ascii: ".") }, as: UTF8.self)
            try out.write("  \(leftPadded("+\(line)", 6))  \(padded(hexes.joined(separator: " "), 47))  \(text)\n")
        }
        if verdict.table.bytes(block) > UInt64(bytes.count) {
            try out.write("  … \(counted(verdict.table.bytes(block) - UInt64(bytes.count), "byte")) more\n")
        }
        for offset in stride(from: 0, to: bytes.count - 7, by: 8) {
            let word = bytes[offset ..< offset + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            if let target = verdict.table.block(at: word) {
                let inside = word - verdict.table.start(target)
                try out.write(
                    "  +\(offset): \(inside > 0 ? "\(inside) bytes into " : "")\(report.text(ofBlock: target)), "
                        + "\(verdict.verdict(target).text)\n"
                )
            } else if let named = report.textOfPointer(word) {
                try out.write("  +\(offset): \(named)\n")
            }
        }
        if start % 8 != 0 { try out.write("  (its address is no multiple of 8)\n") }
    }
}

extension LeakReport {
    /// A pointer to code or data of a module, by its name.
    func textOfPointer(_ word: UInt64) -> String? {
        guard let mapping = verdict.snapshot.mappings.first(where: { $0.range.contains(word) }), mapping.isFile else {
            return nil
        }
        if let module = reduction.modules.first(where: { pathText($0.path) == mapping.path && $0.bias != nil }),
            let bias = module.bias, mapping.isExecutable,
            let number = reduction.modules.firstIndex(where: { $0.path == module.path })
        {
            let named = names.name(Frame(module: UInt32(number), offset: word &- bias &+ 1))
            if let function = named.function {
                return "function \(printable(function)) (\(printable(mapping.baseName)))"
            }
        }
        return mapping.isExecutable || mapping.isWritable
            ? text(ofRoot: RootPlace(kind: .data, address: word, place: "", threadID: nil, mapping: mapping.path)) : nil
    }
}
