// Words for a shell: commands that a reader types, or copies out of a report.

/// A word as a shell reads it back, byte for byte, and fit to be shown: it holds nothing that a terminal would obey.
///
/// A plain word stays as it is, others stand in single quotes. Where bytes can't be shown, the word is in $'…', as
/// bash, zsh and ksh read it. The result is shown as it is: `printable` would double its backslashes, and change the
/// word.
package func shellWord(_ text: String) -> String {
    // With "=" in it a first word is an assignment; behind a dash it is an option's.
    let isOption = text.utf8.first == UInt8(ascii: "-")
    let isPlain = text.utf8.allSatisfy {
        ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x41 && $0 <= 0x5A) || ($0 >= 0x61 && $0 <= 0x7A)
            || "./-_+,:@%".utf8.contains($0)
            || ($0 == UInt8(ascii: "=") && isOption)
    }
    if isPlain && !text.isEmpty { return text }
    if text.unicodeScalars.allSatisfy(\.isShown) {
        return "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
    var result = "$'"
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        case "\r": result += "\\r"
        case "\\", "'": result += "\\\(scalar)"
        case let scalar where scalar.isShown: result.unicodeScalars.append(scalar)
        default:
            // Two digits each: what follows is never taken for a third. \u would hang on the reader's locale.
            for byte in String(scalar).pathBytes { result += "\\x" + hexadecimalDigits(UInt64(byte), 2) }
        }
    }
    return result + "'"
}
