// Growth for other programs: JSON in the schema of all reports, plus a diff's fields; CSV; and folded stacks with two
// numbers, before and after, for differential flame graphs.

import Reduce
import Text
import Trend

extension GrowthSelection {
    /// Writes JSON, schema heapsum/1. Totals and each row's bytes and blocks are the last moment's.
    package func writeJSON(_ growth: Growth, frameLimit: Int? = nil, names: FrameNames, to out: TextOutput) throws {
        let writer = JSONReport(frameLimit: frameLimit)
        try out.write(
            "{\"schema\":\"heapsum/1\",\n\"inputs\":[\n "
                + growth.reduction.inputs.map(writer.text).joined(separator: ",\n ") + "],\n")
        try out.write(
            "\"moments\":[\n "
                + growth.moments.map { moment in
                    "{\"label\":\(jsonString(moment.label)),\"unixSeconds\":\(number(moment.unixSeconds)),"
                        + "\"liveBytes\":\(moment.bytes),\"liveBlocks\":\(moment.blocks)}"
                }.joined(separator: ",\n ") + "],\n")
        let verdicts = GrowthVerdicts(growth, names: names)
        if let verdicts { try out.write(verdicts.json(writer)) }
        let totals = growth.reduction.totals
        let held = growth.rows.count { ($0.blocks.last ?? 0) > 0 }
        let fields = [
            "\"liveBytes\":\(total.row.bytes.last ?? 0)", "\"liveBlocks\":\(total.row.blocks.last ?? 0)",
            "\"allocatedBytes\":null",
            "\"allocatedBlocks\":null", "\"freedBlocks\":null", "\"peakBytes\":null", "\"uniqueStacks\":\(held)",
            "\"lostEvents\":\(totals.lostEvents)", "\"unmatchedFrees\":\(writer.number(totals.unmatchedFrees))",
            text(total),
        ]
        try out.write("\"totals\":{" + fields.joined(separator: ",") + "},\n\"rows\":[")
        for (index, ranked) in rows.enumerated() {
            try out.write(index == 0 ? "\n " : ",\n ")
            let row = ranked.row
            var fields: [String] = row.key.map { ["\"key\":\(jsonString($0.text))"] } ?? []
            fields.append("\"bytes\":\(row.bytes.last ?? 0),\"blocks\":\(row.blocks.last ?? 0)")
            for unknown in Quantity.reported 
            where ![.bytes, .blocks, .residentBytes].contains(unknown) {
                fields.append("\"\(unknown.name)\":null")
            }
            fields.append(text(ranked))
            if grouping == .stack, let verdicts {
                let (said, before) = (verdicts.now[row.node], verdicts.before[row.node])
                fields.append("\"verdict\":" + (said.map { jsonString($0.worst.text) } ?? "null"))
                if let before { fields.append("\"verdictsBefore\":" + writer.text(before)) }
                if let said { fields.append("\"verdicts\":" + writer.text(said)) }
            } else {
                fields.append("\"verdict\":null")
            }
            fields.append("\"bytesByMoment\":[\(row.bytes.map(String.init).joined(separator: ","))]")
            fields.append("\"blocksByMoment\":[\(row.blocks.map(String.init).joined(separator: ","))]")
            try out.write("{" + fields.joined(separator: ",") + ",\"frames\":[")
            if let key = row.key {
                try out.write(writer.text(key))
            } else {
                let entries = names.expanded(growth.reduction.tree.frames(of: row.node), limit: frameLimit).entries
                try out.write(entries.map(writer.text).joined(separator: ","))
            }
            try out.write("]}")
        }
        try out.write("]}\n")
    }

    private func text(_ ranked: RankedGrowth) -> String {
        let row = ranked.row, trend = ranked.trend
        let hasTimes = ranked.bytesAnHour != nil
        let isTested = trend.count >= Trend.fewest
        return [
            "\"bytesBefore\":\(row.bytes.first ?? 0)", "\"blocksBefore\":\(row.blocks.first ?? 0)",
            "\"growthBytes\":\(row.growthBytes)", "\"growthBlocks\":\(row.growthBlocks)",
            "\"bytesAnHour\":\(number(ranked.bytesAnHour))",
            "\"bytesAnHourLow\":\(number(hasTimes && isTested ? trend.slopeLow * 3600 : nil))",
            "\"bytesAnHourHigh\":\(number(hasTimes && isTested ? trend.slopeHigh * 3600 : nil))",
            "\"pValue\":\(number(isTested ? trend.pValue : nil))", "\"shape\":\(jsonString(trend.shape.rawValue))",
        ].joined(separator: ",")
    }

    private func number(_ value: Double?) -> String {
        guard let value, value.isFinite else { return "null" }
        return "\(value)"
    }

    /// Writes one line for each row, comma-separated by RFC 4180. The moments' bytes are in one cell, separated by
    /// spaces.
    package func writeCSV(_ growth: Growth, frameLimit: Int? = nil, names: FrameNames, to out: TextOutput) throws {
        try out.write(
            "growth_bytes,growth_blocks,bytes_before,blocks_before,bytes,blocks,bytes_an_hour,p_value,shape,"
                + "bytes_by_moment,\(grouping.rawValue)\r\n"
        )
        for ranked in rows {
            let row = ranked.row
            let frames = names.expanded(growth.reduction.tree.frames(of: row.node), limit: frameLimit).entries.map {
                named in
                named.file == nil ? named.text : "\(named.text) \(named.place)"
            }
            let cells = [
                "\(row.growthBytes)", "\(row.growthBlocks)", "\(row.bytes.first ?? 0)", "\(row.blocks.first ?? 0)",
                "\(row.bytes.last ?? 0)",
                "\(row.blocks.last ?? 0)", ranked.bytesAnHour.map { "\($0)" } ?? "",
                ranked.trend.count >= Trend.fewest ? "\(ranked.trend.pValue)" : "",
                csvCell(ranked.trend.shape.rawValue),
                csvCell(row.bytes.map(String.init).joined(separator: " ")), csvCell(frames.joined(separator: " < ")),
            ]
            try out.write(cells.joined(separator: ",") + "\r\n")
        }
    }

    /// Writes one line for each stack: outermost;…;innermost, the bytes before and the bytes after, from which
    /// flamegraph.pl draws a differential graph.
    package func writeFolded(_ growth: Growth, frameLimit: Int? = nil, names: FrameNames, to out: TextOutput) throws {
        // This format doesn't distinguish functions with equal names, so equal lines are summed.
        var sums: [String: (before: UInt64, after: UInt64)] = [:]
        var order: [String] = []
        for ranked in rows {
            let entries = names.expanded(growth.reduction.tree.frames(of: ranked.row.node), limit: frameLimit).entries
            // Names must not contain the format's separators.
            let frames = entries.reversed().map { named in
                String((named.function.map(printable) ?? named.text).map { $0 == ";" ? ":" : $0 })
            }
            let line = frames.isEmpty ? "(no frames)" : frames.joined(separator: ";")
            if sums[line] == nil { order.append(line) }
            let sum = sums[line] ?? (0, 0)
            sums[line] = (sum.before &+ (ranked.row.bytes.first ?? 0), sum.after &+ (ranked.row.bytes.last ?? 0))
        }
        for line in order { try out.write("\(line) \(sums[line]?.before ?? 0) \(sums[line]?.after ?? 0)\n") }
    }
}
