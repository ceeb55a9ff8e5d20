// A series in the width of a word: the lowest value at the bottom of the line, the highest at its top.

/// The values as a line of block characters (U+2581 to U+2588), at most `width` of them. With more values, each
/// character shows the last of its share. A constant series is at the bottom.
package func sparkline(_ values: [Double], width: Int = 24) -> String {
    let count = min(values.count, max(width, 1))
    guard count > 0 else { return "" }
    let shown = (1 ... count).map { values[$0 * values.count / count - 1] }
    let lowest = shown.min() ?? 0, range = (shown.max() ?? 0) - lowest
    return String(
        String.UnicodeScalarView(
            shown.map { value in
                let step = range > 0 ? min(7, max(0, Int((value - lowest) / range * 7.99))) : 0
                return UnicodeScalar(0x2581 + UInt32(step)) ?? " "
            }))
}
