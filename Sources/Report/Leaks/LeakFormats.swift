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
        let inputs = reduction.inputs.map(json.text).joined(separator: ",\n ")
        try out.write("{\"schema\":\"heapsum/1\",\n\"inputs\":[\(inputs)],\n")
        try out.write("\"pauseNanoseconds\":\(pauseNanoseconds),\"whole\":\(notRead.isEmpty),\n")
        try out.write("\"notRead\":[\(notRead.map(jsonString).joined(separator: ","))],\n")
        try out.write("\"notes\":[\(notes.map(jsonString).joined(separator: ","))],\n\"verdicts\":{")
        let sums = Verdict.shown.map { kind -> String in
            let amount = totals[kind] ?? Amount()
            return "\(jsonString(kind.text)):{\"blocks\":\(amount.blocks),\"bytes\":\(amount.bytes)}"
        }
        try out.write(sums.joined(separator: ",") + "},\n\"rows\":[")
        var wanted = rows.filter { shown.contains($0.verdict) }
        if let rowLimit { wanted = Array(wanted.prefix(rowLimit)) }
        names.prepare(wanted.map { Row(node: $0.node) })
        for (index, row) in wanted.enumerated() {
            let frames = names.expanded(reduction.frames(of: Row(node: row.node)), limit: frameLimit).entries.map(
                json.text)
            try out.write(index == 0 ? "\n " : ",\n ")
            try out.write("{\"verdict\":\(jsonString(row.verdict.text)),")
            try out.write("\"bytes\":\(row.own.bytes),\"blocks\":\(row.own.blocks),")
            try out.write("\"indirectBytes\":\(row.dragged.bytes),\"indirectBlocks\":\(row.dragged.blocks),")
            try out.write("\"example\":\(jsonString(hexadecimal(row.example))),")
            try out.write("\"frames\":[\(frames.joined(separator: ","))]}")
        }
        try out.write("]")
        if let holders {
            try out.write(",\n\"holders\":[")
            for (index, line) in holders.lines.enumerated() {
                try out.write(index == 0 ? "\n " : ",\n ")
                try out.write("{\"depth\":\(line.depth),\"holder\":\(jsonString(line.text)),")
                try out.write("\"severalRoots\":\(line.isSharedByRoots),")
                try out.write("\"bytes\":\(line.own.bytes),\"blocks\":\(line.own.blocks),")
                try out.write("\"keptBytes\":\(line.kept.bytes),\"keptBlocks\":\(line.kept.blocks)}")
            }
            try out.write("]")
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
