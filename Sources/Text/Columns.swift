// Text in the width of a column. Widths are counted in characters.

/// The text, with spaces behind it up to `width`.
package func padded(_ text: String, _ width: Int) -> String {
    let count = text.count
    return count >= width ? text : text + String(repeating: " ", count: width - count)
}

/// The text, with spaces in front of it up to `width`.
package func leftPadded(_ text: String, _ width: Int) -> String {
    let count = text.count
    return count >= width ? text : String(repeating: " ", count: width - count) + text
}

/// Cuts the middle out of a text that is longer than `width`: of a long name both ends say the most.
package func shortened(_ text: String, _ width: Int) -> String {
    let count = text.count
    if count <= width || width < 5 { return text }
    let tail = (width - 1) / 2
    return text.prefix(width - 1 - tail) + "…" + text.suffix(tail)
}
