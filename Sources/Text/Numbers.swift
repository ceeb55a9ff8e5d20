// Numbers as people read them.

/// An integer with thousands separators: 1,234,567.
package func separated(_ value: UInt64) -> String {
    let digits = String(value)
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0 && (digits.count - index) % 3 == 0 { result += "," }
        result.append(digit)
    }
    return result
}

/// "1 block", "1,234 blocks".
package func counted(_ value: UInt64, _ noun: String) -> String {
    "\(separated(value)) \(noun)\(value == 1 ? "" : "s")"
}

/// A number in hexadecimal, with 0x.
package func hexadecimal(_ value: UInt64) -> String { "0x" + hexadecimalDigits(value) }

/// Bytes as lower-case hexadecimal digits, as readelf prints a build-id.
package func hexadecimal(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 2)
    for byte in bytes { text += [hexadecimalDigit(byte >> 4), hexadecimalDigit(byte & 15)] }
    return String(decoding: text, as: UTF8.self)
}

/// Hexadecimal digits alone, with zeros in front up to `width`.
package func hexadecimalDigits(_ value: UInt64, _ width: Int = 1) -> String {
    let text = String(value, radix: 16)
    return text.utf8.count >= width ? text : String(repeating: "0", count: width - text.utf8.count) + text
}

/// The lower-case digit of the low four bits.
package func hexadecimalDigit(_ nibble: UInt8) -> UInt8 {
    let nibble = nibble & 15
    return nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
}
