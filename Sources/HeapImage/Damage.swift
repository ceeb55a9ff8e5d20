// What can be wrong with an image. Only an image of which nothing can be used throws, an `InputError`; everything else
// that is wrong is a Damage in the image's list, and the reader goes on with what is left.

import Text

/// A part of an image that can't be used, where the rest can.
package struct Damage: Equatable, CustomStringConvertible {
    package var file: String
    /// Byte offset in the file of the first thing at fault.
    package var offset: UInt64
    /// Bytes of the image that are not used because of it; 0 where only their meaning suffers.
    package var lostBytes: UInt64
    /// How many things are at fault in the same way.
    package var count: Int
    /// What is wrong, as a phrase without a full stop.
    package var what: String

    package init(file: String, offset: UInt64, lostBytes: UInt64 = 0, count: Int = 1, what: String) {
        self.file = file
        self.offset = offset
        self.lostBytes = lostBytes
        self.count = count
        self.what = what
    }

    package var description: String {
        var text = InputError(file: file, offset: offset, what: what).description
        if count > 1 { text += " (and \(count - 1) more like it)" }
        if lostBytes > 0 { text += "; \(lostBytes) bytes not used" }
        return text
    }
}
