// Why a file gave no symbols. Every error says which file, and where in it, so that whoever reads the
// message can look at the same byte. Nothing here prints.

import SystemPackage

/// A file that could not be used for symbols: which one, where in it, and why.
package struct SymbolsError: Error, Equatable, Sendable {
    package enum Reason: Equatable, Sendable {
        /// open, fstat or pread said so.
        case cannotOpen(Errno)
        /// It is not ELF (or not a regular file at all).
        case notELF
        /// It is ELF of a kind that this reader does not know: the text says which.
        case unsupported(String)
        /// The file is another build than the one that ran: its names would be wrong.
        case buildIDDiffers(expected: [UInt8], found: [UInt8])
        /// The file is not the one that a .gnu_debuglink means: its CRC-32.
        case checksumDiffers(expected: UInt32, found: UInt32)
        /// A header, a count or an offset in the file is not true: the text says which.
        case damaged(String)
        /// There is no memory for a part of the file: its size in bytes.
        case tooLarge(UInt64)
    }

    package var file: String
    /// Byte offset in the file of the record that is wrong; nil where the file as a whole is.
    package var offset: UInt64?
    package var reason: Reason

    package init(file: String, offset: UInt64? = nil, reason: Reason) {
        self.file = file
        self.offset = offset
        self.reason = reason
    }
}

extension SymbolsError: CustomStringConvertible {
    package var description: String {
        let place = offset.map { "\(file): byte \($0)" } ?? file
        return switch reason {
        case .cannotOpen(let errno): "\(place): cannot be read: \(errno)"
        case .notELF: "\(place): not an ELF file"
        case .unsupported(let what): "\(place): \(what)"
        case .buildIDDiffers(let expected, let found):
            found.isEmpty ? "\(place): has no build-id, not the recorded \(hexadecimal(expected))"
                : "\(place): has build-id \(hexadecimal(found)), not the recorded \(hexadecimal(expected))"
        case .checksumDiffers(let expected, let found):
            "\(place): has CRC \(String(found, radix: 16)), not \(String(expected, radix: 16)) as its .gnu_debuglink says"
        case .damaged(let what): "\(place): damaged: \(what)"
        case .tooLarge(let byteCount): "\(place): no memory for a part of \(byteCount) bytes"
        }
    }
}

/// The bytes as lower-case hexadecimal digits, as readelf prints a build-id.
package func hexadecimal(_ bytes: [UInt8]) -> String {
    var digits: [UInt8] = []
    digits.reserveCapacity(bytes.count * 2)
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            digits.append(nibble < 10 ? 48 + nibble : 87 + nibble)
        }
    }
    return String(decoding: digits, as: UTF8.self)
}
