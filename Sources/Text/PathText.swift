// Paths as text, and back without loss. To the kernel a path is bytes, any but NUL. Swift's String holds only UTF-8 and
// replaces other bytes, so the file could never be opened again. Here each byte that is not UTF-8 becomes one scalar of
// a private plane, like Python's surrogateescape; `printable` shows it as \xHH.
//
// Invariant: `pathText(bytes).pathBytes == bytes` for all bytes. Such a text may be cut, joined and compared like any
// other. System calls get it through `withPath`, never as a String.

import Glibc

/// U+10FF80 … U+10FFFF stand for the bytes 0x80 … 0xFF. Where the path itself holds such a scalar, each of its bytes
/// is escaped.
private let escapedBytes: ClosedRange<UInt32> = 0x10FF80 ... 0x10FFFF

extension Unicode.Scalar {
    /// The byte that this scalar stands for; nil if it is an ordinary scalar.
    package var pathByte: UInt8? { escapedBytes.contains(value) ? UInt8(truncatingIfNeeded: value) : nil }
}

/// A path's bytes as text.
package func pathText(_ bytes: some Sequence<UInt8>) -> String {
    let bytes = Array(bytes)
    // The UTF-8 of each escaping scalar begins with these two bytes.
    if let text = String(validating: bytes, as: UTF8.self),
        !bytes.contains(0xF4) || !text.unicodeScalars.contains(where: { $0.pathByte != nil })
    {
        return text
    }
    var text = ""
    var place = 0
    while place < bytes.count {
        let count =
            switch bytes[place] {
            case 0 ..< 0x80: 1
            case 0xC2 ..< 0xE0: 2
            case 0xE0 ..< 0xF0: 3
            case 0xF0 ..< 0xF5: 4
            default: 0
            }
        if count > 0, place + count <= bytes.count,
            let part = String(validating: bytes[place ..< place + count], as: UTF8.self),
            let scalar = part.unicodeScalars.first, scalar.pathByte == nil
        {
            text.unicodeScalars.append(scalar)
            place += count
        } else {
            if let scalar = Unicode.Scalar(0x10FF00 + UInt32(bytes[place])) { text.unicodeScalars.append(scalar) }
            place += 1
        }
    }
    return text
}

/// The same for a C string.
package func pathText(cString text: UnsafePointer<CChar>) -> String {
    pathText(UnsafeRawBufferPointer(start: text, count: strlen(text)))
}

extension String {
    /// The bytes from which `pathText` made this.
    package var pathBytes: [UInt8] {
        if !utf8.contains(0xF4) { return Array(utf8) }
        var bytes: [UInt8] = []
        for scalar in unicodeScalars {
            if let byte = scalar.pathByte {
                bytes.append(byte)
            } else {
                bytes += UTF8.encode(scalar).map(Array.init) ?? []
            }
        }
        return bytes
    }

    /// The same as a C string, with its NUL.
    package var pathCString: [CChar] { pathBytes.map { CChar(bitPattern: $0) } + [0] }

    /// Calls `body` with the path as the kernel takes it.
    package func withPath<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        let text = pathCString
        return withUnsafePointer(to: text[0]) { first in text.withUnsafeBufferPointer { body($0.baseAddress ?? first) }
        }
    }
}

/// An environment variable, as text that can become a path again; nil if it is not set.
package func environmentText(_ name: String) -> String? { getenv(name).map { pathText(cString: $0) } }

/// This process's arguments without its own name, each as text that can become a path again.
package func commandWords() -> [String] {
    (1 ..< max(1, Int(CommandLine.argc))).compactMap { CommandLine.unsafeArgv[$0].map { pathText(cString: $0) } }
}
