// Making names from outside fit to show: names of programs, modules, functions and files may hold anything. No name
// reaches a terminal unchecked.

extension Unicode.Scalar {
    /// Whether a terminal may show it as it is. False for anything that moves the cursor, changes colours or turns the
    /// line's direction, and for a path's byte that is not UTF-8.
    var isShown: Bool {
        switch value {
        case 0 ..< 0x20, 0x7F ..< 0xA0, 0x61C, 0x200B ... 0x200F, 0x2028 ... 0x202E, 0x2060 ... 0x206F, 0xFEFF,
            0xFFF9 ... 0xFFFB:
            false
        default: pathByte == nil
        }
    }
}

/// Makes text fit for a terminal, and for a line of any text format: whatever `isShown` denies becomes \n, \t, \r, \xHH
/// or \u{HHHH}, and a backslash becomes two. A path's byte that is not UTF-8 (`pathText`) becomes \xHH too.
package func printable(_ text: String) -> String {
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0x0A: result += "\\n"
        case 0x09: result += "\\t"
        case 0x0D: result += "\\r"
        case 0x5C: result += "\\\\"
        default:
            if scalar.isShown {
                result.unicodeScalars.append(scalar)
            } else if let byte = scalar.pathByte ?? (scalar.value < 0x80 ? UInt8(scalar.value) : nil) {
                result += "\\x" + hexadecimalDigits(UInt64(byte), 2)
            } else {
                result += "\\u{" + hexadecimalDigits(UInt64(scalar.value)) + "}"
            }
        }
    }
    return result
}
