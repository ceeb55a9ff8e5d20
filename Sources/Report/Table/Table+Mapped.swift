// The table's part on what the program maps itself: a line, and the rows with their stacks.

import HeapImage
import Reduce
import Text

extension Table {
    /// One line: how much, in how many mappings, and how much of it is in memory.
    package static func mappedText(_ totals: MappedTotals) -> String {
        var words = "\(separated(totals.bytes)) bytes in \(counted(totals.mappings, "mapping"))"
        var parts: [String] = []
        if let resident = totals.residentBytes { parts.append("\(separated(resident)) of them in memory") }
        if totals.reservedBytes > 0 { parts.append("\(separated(totals.reservedBytes)) mapped without access") }
        if !parts.isEmpty { words += ", " + parts.joined(separator: ", ") }
        if totals.allocatorBytes > 0 {
            words +=
                "; and \(separated(totals.allocatorBytes)) bytes in \(counted(totals.allocatorMappings, "mapping")) by "
                + "the allocator, for its blocks"
        }
        return words
    }

    func writeMapped(
        _ reduction: Reduction, _ selection: RowSelection, _ names: FrameNames, to out: TextOutput
    ) throws {
        guard reduction.hasMappings else { return }
        try out.write(style.bold("Mapped by the program itself: ") + Self.mappedText(reduction.mappedTotals) + "\n")
        guard selection.grouping == .stack, selection.blocks == BlockFilter(), !selection.isFiltered else { return }
        let order: (MappedRow) -> Double =
            sort == .resident ? { Double($0.residentBytes ?? 0) } : { Double($0.bytes) }
        try writeMapped(reduction.mappedRows.filter { $0.kind != .pool }, order, reduction, names, to: out)
        let totals = reduction.mappedTotals
        guard totals.poolBlocks > 0 else { return }
        try out.write(
            style.bold("In the program's own pools: ")
                + "\(separated(totals.poolBytes)) bytes in \(counted(totals.poolBlocks, "block"))\n")
        try writeMapped(reduction.mappedRows.filter { $0.kind == .pool }, order, reduction, names, to: out)
    }

    private func writeMapped(
        _ mapped: [MappedRow], _ order: (MappedRow) -> Double, _ reduction: Reduction, _ names: FrameNames,
        to out: TextOutput
    ) throws {
        let all = largestFirst(mapped, by: order, bytes: \.bytes)
        let rows = all.prefix(mappedLimit ?? .max)
        guard !rows.isEmpty else { return }
        let isPools = rows.first?.kind == .pool
        names.prepare(rows.map { Row(node: $0.node) })
        let hasResident = rows.contains { $0.residentBytes != nil }
        var heading = ["bytes", isPools ? "blocks" : "mappings", "oldest"],
            cells = rows.map { row in
                [separated(row.bytes), separated(row.mappings), row.oldestSeconds.map(shortDuration) ?? "-"]
            }
        if hasResident {
            heading.append("resident")
            for (index, row) in rows.enumerated() { cells[index].append(row.residentBytes.map(separated) ?? "-") }
        }
        let widths = heading.indices.map { column in ([heading] + cells).map { $0[column].count }.max() ?? 0 }
        func line(_ cells: [String]) -> String {
            cells.indices.map { leftPadded(cells[$0], widths[$0]) }.joined(separator: "   ")
        }
        try out.write("\n" + style.dim(line(heading) + "   kind") + "\n")
        for (index, row) in rows.enumerated() {
            let isReserved = row.reservedBytes > 0 && row.reservedBytes == row.bytes
            try out.write(
                style.bold(line(cells[index]) + "   " + row.kind.name + (isReserved ? ", reserved" : "")) + "\n")
            try writeFrames(reduction.frames(of: Row(node: row.node)), names, to: out)
            try out.write("\n")
        }
        let rest = all.dropFirst(rows.count)
        if !rest.isEmpty {
            try out.write(
                "Not shown: \(counted(UInt64(rest.count), "smaller row")) of \(isPools ? "pools" : "mappings") with "
                    + "\(separated(rest.reduce(0) { $0 &+ $1.bytes })) bytes (--top \(all.count) shows all).\n")
        }
    }
}
