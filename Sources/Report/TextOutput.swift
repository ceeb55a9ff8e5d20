// Where reports go: bytes, gathered and written in large pieces; and how names from outside are made
// fit to be shown. No name reaches a terminal, a JSON file or a CSV cell as it came.

import Common
import Glibc
import SystemPackage

/// A report that can't be written.
package struct OutputError: Error, CustomStringConvertible {
    package var path: String
    package var errno: Errno
    package var description: String { "\(path): can't be written: \(errno)" }
}

/// Bytes on their way to a file, a terminal, or memory.
package final class TextOutput {
    private let descriptor: CInt?
    private let path: String
    private let closes: Bool
    /// What was written and is not gone yet; all of it where there is no file.
    package private(set) var bytes: [UInt8] = []

    /// Keeps everything in `bytes`.
    package init() {
        descriptor = nil
        path = "memory"
        closes = false
    }

    /// Writes to an open descriptor, which stays open.
    package init(descriptor: CInt, name: String) {
        self.descriptor = descriptor
        path = name
        closes = false
    }

    /// Writes to a file, whose old contents go; `-` is standard output.
    package init(path: String) throws(OutputError) {
        self.path = path
        if path == "-" {
            descriptor = STDOUT_FILENO
            closes = false
            return
        }
        let opened = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard opened >= 0 else { throw OutputError(path: path, errno: Errno(rawValue: errno)) }
        descriptor = opened
        closes = true
    }

    deinit { if closes, let descriptor { close(descriptor) } }

    package func write(_ text: String) throws(OutputError) {
        bytes.append(contentsOf: text.utf8)
        try flush(above: 1 << 16)
    }

    package func write(_ more: [UInt8]) throws(OutputError) {
        bytes.append(contentsOf: more)
        try flush(above: 1 << 16)
    }

    /// Writes out what is left. A report is complete only after this.
    package func finish() throws(OutputError) { try flush(above: 0) }

    private func flush(above limit: Int) throws(OutputError) {
        guard let descriptor, bytes.count > limit else { return }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw OutputError(path: path, errno: Errno(rawValue: errno)) }
            done += count
        }
        bytes.removeAll(keepingCapacity: true)
    }

    package var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Makes text fit for a terminal, and for a line of any text format; see `printable`.
package func escaped(_ text: String) -> String { printable(text) }

/// A JSON string with its quotes, as RFC 8259 has it.
package func jsonString(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        case "\r": result += "\\r"
        default:
            if scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0) || scalar.value == 0x2028 || scalar.value == 0x2029 {
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
    }
    return result + "\""
}

/// An integer with thousands separators.
package func grouped(_ value: UInt64) -> String {
    let digits = String(value)
    var result = ""
    for (index, digit) in digits.enumerated() {
        if index > 0 && (digits.count - index) % 3 == 0 { result += "," }
        result.append(digit)
    }
    return result
}

/// A number in hexadecimal, with 0x.
package func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

/// A length of time in a few characters: 35 ms, 12 s, 5 min, 3.2 h, 4.1 d.
package func shortDuration(_ seconds: Double) -> String {
    func tenths(_ value: Double) -> String {
        let whole = Int((value * 10).rounded())
        return whole >= 100 || whole % 10 == 0 ? "\((whole + 5) / 10)" : "\(whole / 10).\(whole % 10)"
    }
    switch seconds {
    case ..<1: return "\(Int(max(0, seconds) * 1000)) ms"
    case ..<120: return "\(tenths(seconds)) s"
    case ..<7200: return "\(tenths(seconds / 60)) min"
    case ..<172_800: return "\(tenths(seconds / 3600)) h"
    default: return "\(tenths(min(seconds / 86_400, 1e9))) d"
    }
}

/// "1 block", "1,234 blocks".
package func counted(_ value: UInt64, _ noun: String) -> String {
    "\(grouped(value)) \(noun)\(value == 1 ? "" : "s")"
}
