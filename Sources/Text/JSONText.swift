// JSON's strings.

/// Where a JSON text goes.
package enum JSONPlace: Sendable {
    /// A file or pipe of its own.
    case file
    /// Between the tags of an HTML page, which must not contain "<", ">" and "&".
    case page
}

/// A JSON string with its quotes (RFC 8259). Characters that move a terminal's cursor are escaped too, and U+2028 and
/// U+2029, which older JavaScript takes for line ends.
package func jsonString(_ text: String) -> String {
    var bytes: [UInt8] = []
    appendJSONString(text, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

/// Appends a JSON string with its quotes to `bytes`, without making a String.
package func appendJSONString(_ text: String, to bytes: inout [UInt8], in place: JSONPlace = .file) {
    bytes.append(UInt8(ascii: "\""))
    defer { bytes.append(UInt8(ascii: "\"")) }
    if text.utf8.allSatisfy({
        $0 >= 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C
            && (place == .file || ($0 != 0x3C && $0 != 0x3E && $0 != 0x26))
    }) {
        bytes += text.utf8
        return
    }
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0x22: bytes += "\\\"".utf8
        case 0x5C: bytes += "\\\\".utf8
        case 0x0A: bytes += "\\n".utf8
        case 0x09: bytes += "\\t".utf8
        case 0x0D: bytes += "\\r".utf8
        case 0 ..< 0x20, 0x7F ..< 0xA0, 0x2028, 0x2029: appendEscape(scalar.value, to: &bytes)
        case 0x3C, 0x3E, 0x26:
            if place == .page { appendEscape(scalar.value, to: &bytes) } else { bytes.append(UInt8(scalar.value)) }
        default:
            // JSON can't hold a byte that is not UTF-8: write it escaped, as `printable` does.
            if let byte = scalar.pathByte {
                bytes += ("\\\\x" + hexadecimalDigits(UInt64(byte), 2)).utf8
            } else {
                bytes += String(scalar).utf8
            }
        }
    }
}

private func appendEscape(_ value: UInt32, to bytes: inout [UInt8]) {
    bytes += ("\\u" + hexadecimalDigits(UInt64(value), 4)).utf8
}
