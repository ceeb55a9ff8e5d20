// Why a file gave no symbols. Every error names the file and the place in it, so that the reader of the message can
// look at the same byte. Nothing here prints.

import Glibc
import SystemPackage
import Text

/// A file that could not be used for symbols: which one, where in it, and why.
package struct SymbolsError: Error, Equatable, Sendable {
    package enum Reason: Equatable, Sendable {
        /// The error of open, fstat or pread.
        case cannotOpen(Errno)
        /// It is not ELF (or not a regular file at all).
        case notELF
        /// An ELF file of a kind that this reader does not support: the text says which.
        case unsupported(String)
        /// The file is another build than the one that ran: its names would be wrong.
        case buildIDDiffers(expected: [UInt8], found: [UInt8])
        /// The module has no build-id, and the file is not the one that ran: the text says how it differs.
        case fileDiffers(String)
        /// The module has no build-id, and nothing else is known about the file that ran: names may be wrong.
        case unchecked
        /// The file's CRC-32 is not the one in the .gnu_debuglink.
        case checksumDiffers(expected: UInt32, found: UInt32)
        /// A header, a count or an offset in the file is wrong: the text says which.
        case damaged(String)
        /// There is no memory for a part of the file; the part's size in bytes.
        case tooLarge(UInt64)
    }

    package var file: String
    /// Byte offset in the file of the wrong record; nil if the whole file is wrong.
    package var offset: UInt64?
    package var reason: Reason

    package init(file: String, offset: UInt64? = nil, reason: Reason) {
        self.file = file
        self.offset = offset
        self.reason = reason
    }
}

extension SymbolsError: CustomStringConvertible {
    package var description: String { InputError(file: file, offset: offset, what: reason.text).description }
}

extension SymbolsError.Reason {
    /// As a phrase without a full stop.
    var text: String {
        switch self {
        case .cannotOpen(let errno): "cannot be read: \(errno)"
        case .notELF: "not an ELF file"
        case .unsupported(let what): what
        case .buildIDDiffers(let expected, let found):
            found.isEmpty
                ? "has no build-id, not the recorded \(hexadecimal(expected))"
                : "has build-id \(hexadecimal(found)), not the recorded \(hexadecimal(expected))"
        case .fileDiffers(let how): how
        case .unchecked:
            "without a build-id, size or date of the module that ran, nothing tells whether this file is the one: its "
                + "names may be wrong"
        case .checksumDiffers(let expected, let found):
            "has CRC \(hexadecimalDigits(UInt64(found))), not \(hexadecimalDigits(UInt64(expected))) as its "
                + ".gnu_debuglink says"
        case .damaged(let what): "damaged: \(what)"
        case .tooLarge(let byteCount): "no memory for a part of \(byteCount) bytes"
        }
    }
}

/// What is known about the file of a module without a build-id.
package struct ExpectedFile: Hashable, Sendable {
    /// nil if not known.
    package var byteCount: UInt64?
    /// Since 1970.
    package var modifiedNanoseconds: UInt64?
    /// While the program ran, its path had no file any more, or another one.
    package var isReplaced: Bool

    package init(byteCount: UInt64?, modifiedNanoseconds: UInt64?, isReplaced: Bool) {
        (self.byteCount, self.modifiedNanoseconds, self.isReplaced) = (byteCount, modifiedNanoseconds, isReplaced)
    }

    /// How a file differs from this one; nil if it doesn't, as far as known.
    func difference(from file: FileReader, buildID: [UInt8]?) -> String? {
        if isReplaced {
            return
                "without a build-id, and deleted or replaced while the program ran: what lies there now is not what ran"
        }
        if let buildID { return "has build-id \(hexadecimal(buildID)), and the module that ran had none" }
        guard let byteCount, let modifiedNanoseconds, let found = file.modifiedNanoseconds else { return nil }
        if byteCount == file.byteCount, Self.isSameTime(modifiedNanoseconds, found) { return nil }
        return
            "without a build-id, and another file than the one that ran: \(file.byteCount) bytes of \(utcTime(found)), "
            + "not \(byteCount) of \(utcTime(modifiedNanoseconds))"
    }

    // Archives and some file systems keep whole seconds only.
    private static func isSameTime(_ one: UInt64, _ other: UInt64) -> Bool {
        one == other
            || one / 1_000_000_000 == other / 1_000_000_000 && (one % 1_000_000_000 == 0 || other % 1_000_000_000 == 0)
    }
}
