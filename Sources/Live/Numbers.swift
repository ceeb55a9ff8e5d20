// Numbers and curves that fit a narrow column.

import Text

/// A curve of one character per value, scaled to the largest value.
func spark(_ values: [UInt64], width: Int, isUTF8: Bool) -> String {
    let steps: [Character] =
        isUTF8 ? ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"] : ["_", ".", "-", "~", "=", "+", "*", "#"]
    guard let most = values.max(), most > 0 else { return String(repeating: " ", count: width) }
    let shown = values.suffix(width)
    let text = String(shown.map { steps[Int(Double($0) / Double(most) * 7.99)] })
    return leftPadded(text, width)
}

/// A size with its sign: +1.2 MB, -340 kB, 0.
func signedSize(_ bytes: Int64) -> String {
    bytes == 0 ? "0" : (bytes > 0 ? "+" : "-") + shortSize(Double(bytes.magnitude))
}

/// A count in few characters: 987, 12.3 k, 4.5 M.
func shortCount(_ count: Double) -> String {
    var text = shortSize(count)
    text.removeLast() // the B of bytes
    return text.hasSuffix(" ") ? String(text.dropLast()) : text
}
