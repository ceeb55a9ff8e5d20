// Sizes as people type them.

/// A number of bytes, with a unit if it pleases: 512, 64K, 10M, 2G, 1T (powers of 1,024); nil for anything else,
/// and for what 64 bits don't hold.
package func byteCount(_ text: String) -> UInt64? {
    var digits = text.utf8[...]
    var shift = 0
    if let unit = digits.last, let index = "KMGT".utf8.firstIndex(of: unit & 0xDF) {
        shift = ("KMGT".utf8.distance(from: "KMGT".utf8.startIndex, to: index) + 1) * 10
        digits = digits.dropLast()
    }
    guard digits.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt64(String(decoding: digits, as: UTF8.self)),
          number.leadingZeroBitCount >= shift || number == 0 else { return nil }
    return number << UInt64(shift)
}
