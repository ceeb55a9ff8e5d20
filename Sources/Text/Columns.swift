// Fitting text into a column. Widths are in characters.

/// The text, padded with spaces at the end to `width`.
package func padded(_ text: String, _ width: Int) -> String {
    let count = text.count
    return count >= width ? text : text + String(repeating: " ", count: width - count)
}

/// The text, padded with spaces at the start to `width`.
package func leftPadded(_ text: String, _ width: Int) -> String {
    let count = text.count
    return count >= width ? text : String(repeating: " ", count: width - count) + text
}

/// Cuts the middle out of a text that is longer than `width`: the two ends of a long name say the most.
package func shortened(_ text: String, _ width: Int) -> String {
    let count = text.count
    if count <= width || width < 5 { return text }
    let tail = (width - 1) / 2
    return text.prefix(width - 1 - tail) + "…" + text.suffix(tail)
}
