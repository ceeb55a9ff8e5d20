// Cells of comma-separated values.

/// A cell of text with its quotes (RFC 4180).
package func csvCell(_ text: String) -> String {
    // Spreadsheets evaluate a cell that begins like a formula, and a name may begin with anything.
    let safe = text.first.map { "=+-@".contains($0) } == true ? "'" + text : text
    return "\"" + safe.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
