// JSON on what the program maps itself.

import HeapImage
import Reduce
import Text

extension JSONReport {
    /// A member "mapped" with the totals and all rows, the largest first.
    func writeMapped(_ reduction: Reduction, _ names: FrameNames, to out: TextOutput) throws {
        let totals = reduction.mappedTotals
        let lost = reduction.inputs.compactMap { $0.image?.mappingSums() }.reduce(0) { $0 &+ $1.lostCalls }
        try out.write(
            "\"mapped\":{\"bytes\":\(totals.bytes),\"mappings\":\(totals.mappings),"
                + "\"reservedBytes\":\(totals.reservedBytes),\"residentBytes\":\(number(totals.residentBytes)),"
                + "\"allocatorBytes\":\(totals.allocatorBytes),\"allocatorMappings\":\(totals.allocatorMappings),"
                + "\"poolBytes\":\(totals.poolBytes),\"poolBlocks\":\(totals.poolBlocks),"
                + "\"lostCalls\":\(lost),\"rows\":[")
        let rows = largestFirst(reduction.mappedRows, by: { Double($0.bytes) }, bytes: \.bytes)
        names.prepare(rows.map { Row(node: $0.node) })
        for (index, row) in rows.enumerated() {
            let frames = names.expanded(reduction.frames(of: Row(node: row.node)), limit: frameLimit).0
            let seconds = [("oldest", row.oldestSeconds), ("newest", row.newestSeconds)].map {
                "\"\($0)Seconds\":\(self.seconds($1))"
            }
            try out.write(
                (index == 0 ? "\n " : ",\n ")
                    + "{\"kind\":\(jsonString(row.kind.name)),\"bytes\":\(row.bytes),\"mappings\":\(row.mappings),"
                    + "\"reservedBytes\":\(row.reservedBytes),\"residentBytes\":\(number(row.residentBytes)),"
                    + seconds.joined(separator: ",")
                    + ",\"frames\":[\(frames.map { text($0) }.joined(separator: ","))]}")
        }
        try out.write("]},\n")
    }
}
