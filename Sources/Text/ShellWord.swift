// Words for a shell: commands that a reader types, or copies out of a report.

/// A word that a shell reads back byte for byte, and that is fit to show: it holds nothing that a terminal would obey.
///
/// A plain word stays as it is; others get single quotes. If bytes can't be shown, the word is in $'…', which bash, zsh
/// and ksh read. Show the result as it is: `printable` would double its backslashes, and so change the word.
package func shellWord(_ text: String) -> String {
    // A first word with "=" is an assignment; after a dash the "=" belongs to an option.
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
            // Two digits each, so that the next character is never taken for a third. \u would depend on the locale.
            for byte in String(scalar).pathBytes { result += "\\x" + hexadecimalDigits(UInt64(byte), 2) }
        }
    }
    return result + "'"
}
