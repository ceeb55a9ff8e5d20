// A check as commands to GitHub's runner, which shows them beside the lines that they name. It shows ten for each step;
// the last one mentions the others.

import Reduce
import Text

/// Writes the check as GitHub workflow commands.
package struct GitHubCommands {
    package var tree: SourceTree
    package var top: Int?

    package init(tree: SourceTree, top: Int?) {
        self.tree = tree
        self.top = top
    }

    package func write(_ check: Check, _ reduction: Reduction, names: FrameNames, to out: TextOutput) throws {
        for verdict in check.verdicts {
            try out.write(
                command(
                    verdict.passed ? "notice" : "error",
                    [("title", "heapsum check: \(verdict.passed ? "passed" : "failed")")],
                    check.sentence(verdict)))
        }
        let shown = check.blamed.prefix(top ?? .max)
        for row in shown {
            var properties: [(String, String)] = []
            let location = names.location(of: row.row, in: tree)
            if let location, location.isInTree {
                properties.append(("file", location.path))
                if let line = location.line { properties.append(("line", "\(line)")) }
            }
            properties.append(("title", check.sentence(row)))
            try out.write(command("error", properties, names.shortStack(row.row)))
        }
        let rest = check.blamed.dropFirst(shown.count)
        if !rest.isEmpty {
            let bytes = rest.reduce(0 as UInt64) { $0 &+ $1.row.bytes }
            try out.write(
                command(
                    "error", [("title", "heapsum check")],
                    "and \(counted(UInt64(rest.count), "more \(check.selection.grouping.noun)")) with "
                        + "\(separated(bytes)) bytes (--top 0 shows all)"
                ))
        }
        for line in Table.notes(reduction, check.selection) + Table.warnings(reduction, names) {
            try out.write(command("notice", [], line))
        }
    }

    private func command(_ name: String, _ properties: [(String, String)], _ message: String) -> String {
        let list = properties.map { "\($0)=\(Self.escaped($1, isProperty: true))" }.joined(separator: ",")
        return "::\(name)\(list.isEmpty ? "" : " " + list)::\(Self.escaped(message, isProperty: false))\n"
    }

    /// Escapes what the runner unescapes: percent signs and line ends, in a property also colons and commas.
    static func escaped(_ text: String, isProperty: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "%": result += "%25"
            case "\r": result += "%0D"
            case "\n": result += "%0A"
            case ":" where isProperty: result += "%3A"
            case "," where isProperty: result += "%2C"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

extension FrameNames {
    /// The stack in a few lines, innermost first, escaped.
    func shortStack(_ row: Row, limit: Int = 12) -> String {
        if let key = row.key { return printable(key.label) }
        let (entries, used) = expanded(reduction.frames(of: row), limit: limit)
        var lines = entries.map { $0.place.isEmpty ? $0.text : "\($0.text)  \($0.place)" }
        let more = reduction.frames(of: row).count - used
        if more > 0 { lines.append("… \(counted(UInt64(more), "outer frame")) more") }
        return lines.isEmpty ? "(no frames)" : lines.joined(separator: "\n")
    }
}
