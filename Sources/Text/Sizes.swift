// Sizes, as people type them and as they read them.

/// A number of bytes with an optional unit: 512, 64K, 10M, 2G, 1T (powers of 1,024); nil for anything else, and for a
/// number that 64 bits don't hold.
package func byteCount(_ text: String) -> UInt64? {
    var digits = text.utf8[...]
    var shift = 0
    if let unit = digits.last, let index = "KMGT".utf8.firstIndex(of: unit & 0xDF) {
        shift = ("KMGT".utf8.distance(from: "KMGT".utf8.startIndex, to: index) + 1) * 10
        digits = digits.dropLast()
    }
    guard digits.allSatisfy({ (0x30 ... 0x39).contains($0) }),
        let number = UInt64(String(decoding: digits, as: UTF8.self)),
        number.leadingZeroBitCount >= shift || number == 0
    else { return nil }
    return number << UInt64(shift)
}

/// A size in a few characters, by powers of 1,000: 512 B, 1.2 kB, 340 MB.
package func shortSize(_ bytes: Double) -> String {
    var value = max(0, bytes), unit = 0
    while value >= 1000 && unit < 4 { (value, unit) = (value / 1000, unit + 1) }
    let tenths = Int(min(value, 1e12) * 10)
    return (unit == 0 || tenths >= 1000 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)")
        + [" B", " kB", " MB", " GB", " TB"][unit]
}
