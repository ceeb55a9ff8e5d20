// A check as a JUnit report, from which Jenkins, GitLab and most others show test results. One test case for each
// limit.

import Reduce
import Text

/// Writes the check as JUnit XML.
package struct JUnitReport {
    package var frameLimit: Int?
    package var top: Int?

    package init(frameLimit: Int?, top: Int?) {
        self.frameLimit = frameLimit
        self.top = top
    }

    package func write(_ check: Check, _ reduction: Reduction, names: FrameNames, to out: TextOutput) throws {
        let programs = reduction.inputs.map { $0.program ?? $0.path }
        let name =
            "heapsum check " + (programs.first ?? "") + (programs.count > 1 ? " and \(programs.count - 1) more" : "")
        let counts = "tests=\"\(check.verdicts.count)\" failures=\"\(check.failures.count)\" errors=\"0\""
        try out.write("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites \(counts) time=\"0\">\n")
        try out.write("  <testsuite name=\"\(xml(name))\" \(counts) skipped=\"0\" time=\"0\">\n")
        for verdict in check.verdicts {
            let title = "\(verdict.quantity.text(check.selection.grouping)): at most \(verdict.most)"
            try out.write("    <testcase classname=\"heapsum.check\" name=\"\(xml(title))\" time=\"0\"")
            if verdict.passed {
                try out.write("/>\n")
                continue
            }
            try out.write(
                ">\n      <failure type=\"\(verdict.quantity.rawValue)\" message=\"\(xml(check.sentence(verdict)))\">")
            try out.write(xml(try body(check, reduction, names)) + "</failure>\n    </testcase>\n")
        }
        let notes = Table.notes(reduction, check.selection) + Table.warnings(reduction, names)
        if !notes.isEmpty { try out.write("    <system-out>\(xml(notes.joined(separator: "\n")))</system-out>\n") }
        try out.write("  </testsuite>\n</testsuites>\n")
    }

    private func body(_ check: Check, _ reduction: Reduction, _ names: FrameNames) throws -> String {
        let text = TextOutput()
        let shown = check.blamed.prefix(top ?? .max)
        for row in shown {
            try text.write("\n\(check.sentence(row))\(row.row.key.map { "  " + printable($0.label) } ?? "")\n")
            if row.row.key == nil {
                try Table(style: Style(), frameLimit: frameLimit).writeFrames(
                    reduction.frames(of: row.row), names, to: text)
            }
        }
        if check.blamed.count > shown.count {
            try text.write("\nand \(separated(UInt64(check.blamed.count - shown.count))) more\n")
        }
        return text.text
    }
}

/// Text for XML, in an attribute or between tags. Characters that XML can't contain were escaped before, or become the
/// replacement character.
func xml(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0x26: result += "&amp;"
        case 0x3C: result += "&lt;"
        case 0x3E: result += "&gt;"
        case 0x22: result += "&quot;"
        case 0x09, 0x0A, 0x0D: result += scalar.value == 0x0A ? "\n" : "&#\(scalar.value);"
        case 0 ..< 0x20, 0x7F ..< 0xA0, 0xFFFE, 0xFFFF: result += "\u{FFFD}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}
