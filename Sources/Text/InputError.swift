// What is wrong with a file from outside.

/// An input that can't be used at all, and the byte that says so.
package struct InputError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What it is called: a path as a rule.
    package var file: String
    /// Byte offset in the file (of a log decompressed, where it is compressed) of the field or data at fault; nil where
    /// the file as a whole is, or can't be opened.
    package var offset: UInt64?
    /// What is wrong, as a phrase without a full stop.
    package var what: String
    /// What is worth a line of its own for people: the first lines of a log that failed, each followed by why.
    package var details: [String]

    package init(file: String, offset: UInt64? = nil, what: String, details: [String] = []) {
        self.details = details
        self.file = file
        self.offset = offset
        self.what = what
    }

    package var description: String { offset.map { "\(file): byte \($0): \(what)" } ?? "\(file): \(what)" }
}
