// An earlier report, read back from its JSON (schema heapsum/1), as a reduction. Its frames are like a log's: they have
// names and no files.

import Reduce
import Text

/// A JSON report that can't be used.
package struct ReportedRowsError: Error, CustomStringConvertible {
    package var path: String
    package var what: String
    package var description: String { "\(path): \(what)" }
}

/// The contents of an earlier report.
package struct ReportedRows {
    package let reduction = Reduction()
    /// Whether its rows are not stacks.
    package private(set) var isGrouped = false
    /// Stacks that are in the report's totals, but not in its rows because of --top or filters.
    package private(set) var missing = 0

    /// Whether a file begins like a report.
    package static func isReport(_ head: [UInt8]) -> Bool {
        head.first { $0 != 0x20 && $0 != 0x0A && $0 != 0x0D && $0 != 0x09 } == UInt8(ascii: "{")
    }

    package init(_ bytes: [UInt8], path: String) throws(ReportedRowsError) {
        func wrong(_ what: String) -> ReportedRowsError { ReportedRowsError(path: path, what: what) }
        let report: JSONValue
        do throws(JSONError) { report = try JSONReader.read(bytes) } catch { throw wrong("\(error)") }
        guard report["schema"]?.string == "heapsum/1" else {
            throw wrong("JSON, and no report of heapsum's (\"schema\":\"heapsum/1\")")
        }
        guard let rows = report["rows"]?.array else { throw wrong("a report without rows") }
        let input = reduction.begin(Input(path: path, kind: "report"))
        for (index, row) in rows.enumerated() {
            guard let blocks = row["blocks"]?.integer,
                let bytes = row["bytes"]?.integer ?? (row["bytes"]?.isNull == true ? 0 : nil)
            else { throw wrong("row \(index + 1) has no bytes or blocks") }
            var frames: [Frame] = []
            if row["key"] != nil { isGrouped = true }
            for frame in row["frames"]?.array ?? [] { frames.append(reduction.frame(Self.frame(frame))) }
            reduction.add(
                frames: frames, bytes: bytes, blocks: blocks,
                blocksOfUnknownSize: row["bytes"]?.isNull == true ? blocks : 0, input: input,
                ageSeconds: row["oldestSeconds"]?.double,
                newestSeconds: row["newestSeconds"]?.double)
        }
        missing = isGrouped ? 0 : max(0, Int(clamping: report["totals"]?["uniqueStacks"]?.integer ?? 0) - rows.count)
    }

    private static func frame(_ frame: JSONValue) -> LogFrame {
        let module = frame["module"]?.string ?? ""
        if let function = frame["function"]?.string {
            if let reason = LogFrame(address: 0, name: Array(function.utf8)).cutReason { return .cut(reason) }
            if module.isEmpty && function.hasPrefix(LogFrame.tagText) {
                return LogFrame(address: 0, name: Array(function.utf8))
            }
            if function.hasPrefix(LogFrame.threadText),
                let thread = UInt64(function.dropFirst(LogFrame.threadText.count))
            {
                return LogFrame(address: thread, name: Array(function.utf8))
            }
            return LogFrame(
                name: Array(function.utf8), module: Array(module.utf8), file: Array((frame["file"]?.string ?? "").utf8),
                line: frame["line"]?.integer.flatMap { UInt32(exactly: $0) })
        }
        if module.isEmpty { return LogFrame(address: frame["offset"]?.integer ?? frame["address"]?.integer ?? 0) }
        let base = module.split(separator: "/").last.map(String.init) ?? module
        // The form of a frame without a name.
        return LogFrame(
            name: Array("\(base)+\(hexadecimal(frame["offset"]?.integer ?? 0))".utf8), module: Array(module.utf8))
    }
}
