// A check as SARIF 2.1.0, for code scanning services. One result for each row that is to blame; none if the check
// passed, so that fixed results are closed.

import Reduce
import Text

/// Writes the check as SARIF.
package struct SARIFReport {
    package var tree: SourceTree
    package var top: Int?

    package init(tree: SourceTree, top: Int?) {
        self.tree = tree
        self.top = top
    }

    package func write(_ check: Check, _ reduction: Reduction, names: FrameNames, to out: TextOutput) throws {
        let rules = [
            (
                "unfreed-memory", "UnfreedMemory", "Memory that was never freed",
                "Blocks that were live when the program was looked at, by the stack that asked for them. Free them, "
                    + "raise the check's limit, or put the stack into a file of suppressions."
            ),
            (
                "memory-growth", "MemoryGrowth", "Memory that grew against a baseline",
                "A stack that holds more bytes than it did in the baseline, in a run whose live bytes grew by more "
                    + "than is allowed."
            ),
        ].map { id, name, short, full in
            "{\"id\":\(jsonString(id)),\"name\":\(jsonString(name)),"
                + "\"shortDescription\":{\"text\":\(jsonString(short))},"
                + "\"fullDescription\":{\"text\":\(jsonString(full))},\"defaultConfiguration\":{\"level\":\"error\"}}"
        }
        try out.write(
            "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{\n")
        try out.write(
            "\"tool\":{\"driver\":{\"name\":\"heapsum\",\"version\":\(jsonString(version)),\"rules\":[\n "
                + "\(rules.joined(separator: ",\n "))]}},\n"
        )
        try out.write("\"invocations\":[{\"executionSuccessful\":true,\"exitCode\":\(check.passed ? 0 : 1)}],\n")
        let root = jsonString("file://" + Self.encoded(tree.root) + "/")
        try out.write("\"originalUriBaseIds\":{\"SRCROOT\":{\"uri\":\(root)}},\n\"results\":[")
        let shown = check.blamed.prefix(top ?? .max)
        for (index, row) in shown.enumerated() {
            try out.write((index == 0 ? "\n " : ",\n ") + result(row, check, names))
        }
        let sentences = check.verdicts.map { jsonString(check.sentence($0)) }.joined(separator: ",")
        try out.write(
            "],\n\"properties\":{\"passed\":\(check.passed),\"limits\":[\(sentences)],"
                + "\"rowsLeftOut\":\(check.blamed.count - shown.count)}}]}\n"
        )
    }

    private func result(_ row: CheckedRow, _ check: Check, _ names: FrameNames) -> String {
        let rule = check.isOfGrowth ? 1 : 0
        let location = names.location(of: row.row, in: tree)
        let asked = location?.function.map { " asked for in \($0)" } ?? row.row.key.map { " of \($0.label)" } ?? ""
        var members = [
            "\"ruleId\":\(jsonString(rule == 0 ? "unfreed-memory" : "memory-growth"))", "\"ruleIndex\":\(rule)",
            "\"level\":\"error\"",
            "\"message\":{\"text\":\(jsonString(check.sentence(row) + asked))}",
        ]
        if let location {
            members.append("\"locations\":[\(text(location, message: nil))]")
        } else {
            members.append("\"locations\":[]")
        }
        if row.row.key == nil {
            let frames = names.reduction.frames(of: row.row).flatMap(names.expanded).map { frame -> String in
                let place = frame.file ?? frame.modulePath
                let own = place.map {
                    SourceLocation(
                        path: tree.relative($0) ?? $0, isInTree: tree.relative($0) != nil, line: frame.line,
                        function: nil)
                }
                let module = frame.moduleName.map { ",\"module\":\(jsonString($0))" } ?? ""
                let location =
                    own.map { text($0, message: frame.text) } ?? "{\"message\":{\"text\":\(jsonString(frame.text))}}"
                return "{\"location\":\(location)\(module)}"
            }
            if !frames.isEmpty { members.append("\"stacks\":[{\"frames\":[\(frames.joined(separator: ","))]}]") }
        }
        members.append("\"partialFingerprints\":{\"heapsumStack/v1\":\(jsonString(Self.fingerprint(row.signature)))}")
        members.append(
            "\"properties\":{\"bytes\":\(row.row.bytes),\"blocks\":\(row.row.blocks)"
                + (row.growthBytes.map { ",\"growthBytes\":\($0)" } ?? "")
                + (row.row.verdict.map { ",\"verdict\":\(jsonString($0.worst.text))" } ?? "") + "}"
        )
        return "{" + members.joined(separator: ",") + "}"
    }

    private func text(_ location: SourceLocation, message: String?) -> String {
        let uri =
            location.isInTree
            ? "\"uri\":\(jsonString(Self.encoded(location.path))),\"uriBaseId\":\"SRCROOT\""
            : "\"uri\":\(jsonString((location.path.hasPrefix("/") ? "file://" : "") + Self.encoded(location.path)))"
        let region = location.line.flatMap { $0 > 0 ? ",\"region\":{\"startLine\":\($0)}" : nil } ?? ""
        let said = message.map { ",\"message\":{\"text\":\(jsonString($0))}" } ?? ""
        return "{\"physicalLocation\":{\"artifactLocation\":{\(uri)}\(region)}\(said)}"
    }

    /// A path, encoded for a URI.
    static func encoded(_ path: String) -> String {
        var result = ""
        for byte in path.utf8 {
            let isPlain =
                (0x30 ... 0x39).contains(byte) || (0x41 ... 0x5A).contains(byte) || (0x61 ... 0x7A).contains(byte)
                || "/-_.~".utf8.contains(byte)
            if isPlain {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.count == 1 ? "0" : "") + digits
            }
        }
        return result
    }

    /// FNV-1a, 64 bits. The same stack has the same fingerprint in every run, so that a service recognizes it.
    static func fingerprint(_ text: String) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        return hexadecimalDigits(hash, 16)
    }
}
