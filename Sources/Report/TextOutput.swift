// Where reports go: bytes, gathered and written in large pieces; and how names from outside are made
// fit to be shown. No name reaches a terminal, a JSON file or a CSV cell as it came.

import Common
import Glibc
import SystemPackage

/// Bytes on their way to a file, a terminal, or memory.
package final class TextOutput {
    private enum Sink {
        case memory
        case descriptor(CInt)
        case file(OutputFile)
    }
    private var sink: Sink
    private let path: String
    /// What was written and is not gone yet; all of it where there is no file.
    package private(set) var bytes: [UInt8] = []

    /// Keeps everything in `bytes`.
    package init() {
        sink = .memory
        path = "memory"
    }

    /// Writes to an open descriptor, which stays open.
    package init(descriptor: CInt, name: String) {
        sink = .descriptor(descriptor)
        path = name
    }

    /// Writes to a file, which takes the place of an older one when it is whole, at `finish`; `-` is standard output. See `OutputFile`.
    package init(path: String, inputs: [String] = []) throws(OutputError) {
        self.path = path
        sink = .file(try OutputFile(path: path, inputs: inputs))
    }

    package func write(_ text: String) throws(OutputError) {
        bytes.append(contentsOf: text.utf8)
        try flush(above: 1 << 16)
    }

    package func write(_ more: [UInt8]) throws(OutputError) {
        bytes.append(contentsOf: more)
        try flush(above: 1 << 16)
    }

    /// Writes out what is left. A report is complete only after this, and a file takes no more.
    package func finish() throws(OutputError) {
        try flush(above: 0)
        if case .file(let file) = sink {
            try file.commit()
            sink = .memory
        }
    }

    private func flush(above limit: Int) throws(OutputError) {
        guard bytes.count > limit else { return }
        switch sink {
        case .memory: return
        case .file(let file): try file.write(bytes)
        case .descriptor(let descriptor):
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done) }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw OutputError(path: path, errno: Errno(rawValue: errno)) }
                done += count
            }
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
            if let byte = scalar.pathByte {
                // JSON has no way to write a byte that is no text: shown as elsewhere.
                result += "\\\\x" + String(byte, radix: 16)
            } else if scalar.value < 0x20 || (scalar.value >= 0x7F && scalar.value < 0xA0) || scalar.value == 0x2028 || scalar.value == 0x2029 {
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
