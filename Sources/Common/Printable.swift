// Names from outside, made fit to be shown: of programs, modules, functions and files, all of which
// may hold anything. No name reaches a terminal as it came.

/// Makes text fit for a terminal: what would move the cursor, change colours or turn the line's
/// direction is shown as \n, \t, \xHH or \u{HHHH}, and a backslash as two. A path's byte that is no UTF-8 (`pathText`) is shown as \xHH too.
package func printable(_ text: String) -> String {
    if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.value {
        case 0x0A: result += "\\n"
        case 0x09: result += "\\t"
        case 0x0D: result += "\\r"
        case 0x5C: result += "\\\\"
        case 0 ..< 0x20, 0x7F:
            result += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
        case 0x80 ..< 0xA0, 0x61C, 0x200B ... 0x200F, 0x2028 ... 0x202E, 0x2060 ... 0x206F, 0xFEFF, 0xFFF9 ... 0xFFFB:
            result += "\\u{" + String(scalar.value, radix: 16) + "}"
        default:
            if let byte = scalar.pathByte { result += "\\x" + String(byte, radix: 16) } else { result.unicodeScalars.append(scalar) }
        }
    }
    return result
}
