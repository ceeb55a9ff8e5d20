// The survey of an allocator's pages for programs: JSON. Sizes are plain integers; addresses are hexadecimal strings,
// because some JSON readers lose digits of large numbers. What is not known is null.

import HeapImage
import Leaks
import Reduce
import Survey
import Text

extension PagesReport {
    package func writeJSON(
        _ memory: MemoryVerdict?, rowLimit: Int?, frameLimit: Int?, to out: TextOutput
    ) throws {
        let json = JSONReport(frameLimit: frameLimit)
        try out.write(
            "{\"schema\":\"heapsum/1\",\n\"inputs\":[\(reduction.inputs.map(json.text).joined(separator: ",\n "))],\n")
        try out.write("\"pages\":{\"resident\":\(survey.knowsPages),\"atEnd\":\(survey.isOfEnd),")
        try out.write("\"pageBytes\":\(survey.pageBytes),")
        try out.write("\"readNanoseconds\":\(survey.hasResidency ? "\(survey.nanoseconds)" : "null"),\n ")
        try out.write(
            "\"\(survey.knowsPages ? "residentBytes" : "touchedBytes")\":\(survey.sums.resident),"
                + parts.map { "\"\($0.name)\":\($0.bytes)" }.joined(separator: ",")
                + ",\"swappedBytes\":\(survey.hasResidency ? "\(survey.swappedBytes)" : "null"),\n ")
        let full = ["0", "1/8", "1/4", "1/2", "3/4", "1"]
        try out.write(
            "\"occupancy\":["
                + Occupancy.allCases.map { kind in
                    let sums = survey.occupancy[kind.rawValue]
                    return "{\"upTo\":\"\(full[kind.rawValue])\",\"pages\":\(sums.pages),\"usedBytes\":\(sums.used)}"
                }.joined(separator: ",") + "],\n ")
        try out.write("\"earlier\":\(survey.earlier.map(text) ?? "null"),\n ")
        try out.write("\"arenas\":[" + arenas.map(text).joined(separator: ",\n  ") + "],\n ")
        try out.write(
            "\"sizes\":["
                + sizes.map { sizes, sums in
                    "{\"from\":\(sizes.lowerBound),\"to\":\(sizes.upperBound),\(text(sums))}"
                }.joined(separator: ",\n  ") + "],\n ")
        try out.write("\"malloc\":\(survey.parameters.map(text) ?? "null"),\n ")
        try out.write("\"raisedBy\":[\(raises.map { text($0, json, frameLimit) }.joined(separator: ","))]},\n")
        let parts = memory.map { $0.parts.map { "\"\($0.name)\":\($0.bytes)" }.joined(separator: ",") }
        try out.write(
            "\"memory\":"
                + (parts.map { "{\"residentBytes\":\(memory?.total ?? 0),\($0)}" } ?? "null") + ",\n")
        try out.write("\"advice\":[\(advice.map(jsonString).joined(separator: ","))],\n")
        try out.write("\"notes\":[\(survey.notes.map(jsonString).joined(separator: ","))],\n\"rows\":[")
        let wanted = rowLimit.map { Array(rows.prefix($0)) } ?? rows, keys = names.stackKeys()
        names.prepare(wanted.map { Row(node: $0.node) })
        for (index, row) in wanted.enumerated() {
            let frames = names.expanded(reduction.frames(of: Row(node: row.node)), limit: frameLimit).entries.map(
                json.text)
            try out.write(
                (index == 0 ? "\n " : ",\n ") + "{\"stackKey\":\"\(keys[Int(row.node)])\",\(text(row.sums)),"
                    + "\"aloneBytes\":\(row.sums.alone),"
                    + "\"frames\":[\(frames.joined(separator: ","))]}")
        }
        try out.write("]}\n")
    }

    private func text(_ sums: PinSums) -> String {
        "\"blocks\":\(sums.blocks),\"\(survey.knowsPages ? "residentBytes" : "touchedBytes")\":\(sums.live),"
            + "\"pinnedBytes\":\(sums.pinned)"
    }

    private func text(_ earlier: EarlierSums) -> String {
        "{\"origin\":\(jsonString(earlier.origin)),\(text(earlier.sums)),\"aloneBytes\":\(earlier.sums.alone),"
            + "\"isWhole\":\(earlier.isWhole),\"gaps\":[\(earlier.gaps.map(jsonString).joined(separator: ","))],"
            + "\"youngerAtMost\":\(earlier.mostYounger)}"
    }

    private func text(_ raise: ThresholdRaise, _ json: JSONReport, _ frameLimit: Int?) -> String {
        let row = Row(node: raise.node)
        names.prepare([row])
        let frames = names.expanded(reduction.frames(of: row), limit: frameLimit).entries.map(json.text)
        func seconds(_ milliseconds: UInt64) -> String { "\(Double(milliseconds) / 1000)" }
        return "{\"chunkBytes\":\(raise.freed.chunkBytes),"
            + "\"allocatedSeconds\":\(seconds(raise.freed.allocatedMilliseconds)),"
            + "\"freedSeconds\":\(seconds(raise.freed.freedMilliseconds)),"
            + "\"stackKey\":\"\(names.stackKeys()[Int(raise.node)])\","
            + "\"frames\":[\(frames.joined(separator: ","))]}"
    }

    private func text(_ arena: ArenaSums) -> String {
        let sums = arena.sums
        let address = arena.address.map { "\"\(hexadecimal($0))\"" } ?? "null"
        return
            "{\"kind\":\"\(arena.kind.rawValue)\",\"address\":\(address),"
            + "\"heaps\":\(arena.heaps),\"residentBytes\":\(sums.resident),\"liveBytes\":\(sums.live),"
            + "\"overheadBytes\":\(sums.overhead),\"pinnedBytes\":\(sums.pinned),\"trimmableBytes\":\(sums.returned),"
            + "\"topBytes\":\(sums.top),\"keptBytes\":\(sums.kept),\"rimBytes\":\(sums.rims),"
            + "\"unclearBytes\":\(sums.unclear)}"
    }

    private func text(_ parameters: MallocParameters) -> String {
        "{\"trimThreshold\":\(parameters.trimThreshold),\"mmapThreshold\":\(parameters.mmapThreshold),"
            + "\"topPad\":\(parameters.topPad),\"arenaMax\":\(parameters.arenaMax),"
            + "\"areFixed\":\(parameters.isFixed),\"mappedBlocks\":\(parameters.mappedBlocks),"
            + "\"mappedBytes\":\(parameters.mappedBytes)}"
    }
}
