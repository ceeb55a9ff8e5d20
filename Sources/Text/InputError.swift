// The error for a file from outside that can't be used.

/// An input that can't be used at all, with the byte at fault.
package struct InputError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Its name: usually a path.
    package var file: String
    /// Byte offset of the field or data at fault, in a compressed log's decompressed text; nil if the file as a whole
    /// is at fault or can't be opened.
    package var offset: UInt64?
    /// What is wrong, as a phrase without a full stop.
    package var what: String
    /// Details that people get on lines of their own: the first lines of a log that failed, each followed by the
    /// reason.
    package var details: [String]

    package init(file: String, offset: UInt64? = nil, what: String, details: [String] = []) {
        self.details = details
        self.file = file
        self.offset = offset
        self.what = what
    }

    package var description: String { offset.map { "\(file): byte \($0): \(what)" } ?? "\(file): \(what)" }
}
