// The verdict for programs: JSON and CSV. Sizes are plain integers. Addresses are hexadecimal strings, because some
// JSON readers lose digits of large numbers.

import HeapImage
import Leaks
import Reduce
import Text

extension LeakSummary {
    /// Writes the rows with the wanted verdicts, and the holders if there are any.
    package func writeJSON(
        shown: Set<Verdict>, rowLimit: Int?, frameLimit: Int?, holders: HolderTree?, to out: TextOutput
    ) throws {
        let json = JSONReport(frameLimit: frameLimit)
        try out.write(
            "{\"schema\":\"heapsum/1\",\n\"inputs\":[\(reduction.inputs.map(json.text).joined(separator: ",\n "))],\n")
        try out.write("\"pauseNanoseconds\":\(pauseNanoseconds),\"whole\":\(notRead.isEmpty),\n")
        try out.write("\"notRead\":[\(notRead.map(jsonString).joined(separator: ","))],\n")
        try out.write("\"notes\":[\(notes.map(jsonString).joined(separator: ","))],\n\"verdicts\":{")
        try out.write(
            Verdict.shown.map { kind in
                let amount = totals[kind] ?? Amount()
                return "\(jsonString(kind.text)):{\"blocks\":\(amount.blocks),\"bytes\":\(amount.bytes)}"
            }.joined(separator: ",") + "},\n\"rows\":[")
        var wanted = rows.filter { shown.contains($0.verdict) }
        if let rowLimit { wanted = Array(wanted.prefix(rowLimit)) }
        names.prepare(wanted.map { Row(node: $0.node) })
        for (index, row) in wanted.enumerated() {
            let frames = names.expanded(reduction.frames(of: Row(node: row.node)), limit: frameLimit).entries.map(
                json.text)
            try out.write(
                (index == 0 ? "\n " : ",\n ")
                    + "{\"verdict\":\(jsonString(row.verdict.text)),\"bytes\":\(row.own.bytes),"
                    + "\"blocks\":\(row.own.blocks),"
                    + "\"indirectBytes\":\(row.dragged.bytes),\"indirectBlocks\":\(row.dragged.blocks),"
                    + "\"example\":\(jsonString(hexadecimal(row.example))),"
                    + "\"frames\":[\(frames.joined(separator: ","))]}")
        }
        try out.write("]")
        if let holders {
            try out.write(
                ",\n\"holders\":["
                    + holders.lines.map { line in
                        "\n {\"depth\":\(line.depth),\"holder\":\(jsonString(line.text)),"
                            + "\"severalRoots\":\(line.isSharedByRoots),\"bytes\":\(line.own.bytes),"
                            + "\"blocks\":\(line.own.blocks),"
                            + "\"keptBytes\":\(line.kept.bytes),\"keptBlocks\":\(line.kept.blocks)}"
                    }.joined(separator: ",") + "]")
        }
        try out.write("}\n")
    }

    /// Writes one line for each row (RFC 4180).
    package func writeCSV(shown: Set<Verdict>, rowLimit: Int?, frameLimit: Int?, to out: TextOutput) throws {
        try out.write("verdict,bytes,blocks,indirect_bytes,indirect_blocks,example,stack\r\n")
        var wanted = rows.filter { shown.contains($0.verdict) }
        if let rowLimit { wanted = Array(wanted.prefix(rowLimit)) }
        for row in wanted {
            let frames = names.expanded(reduction.frames(of: Row(node: row.node)), limit: frameLimit).entries.map {
                $0.file == nil ? $0.text : "\($0.text) \($0.place)"
            }
            try out.write(
                "\(row.verdict.text),\(row.own.bytes),\(row.own.blocks),\(row.dragged.bytes),"
                    + "\(row.dragged.blocks),\(hexadecimal(row.example)),"
                    + "\(csvCell(frames.joined(separator: " < ")))\r\n")
        }
    }
}
