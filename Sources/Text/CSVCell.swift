// Cells of comma-separated values.

/// A cell of text with its quotes, as RFC 4180 has it.
package func csvCell(_ text: String) -> String {
    // A cell that begins like a formula would be run by spreadsheets; a name may begin with anything.
    let safe = text.first.map { "=+-@".contains($0) } == true ? "'" + text : text
    return "\"" + safe.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
