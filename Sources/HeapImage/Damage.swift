// What can be wrong with an image. If nothing in an image can be used, reading throws an `InputError`. Any other fault
// is a Damage in the image's list, and the reader goes on with the rest.

import Text

/// A part of an image that can't be used, while the rest can.
package struct Damage: Equatable, CustomStringConvertible {
    package var file: String
    /// Byte offset in the file of the first fault.
    package var offset: UInt64
    /// Bytes of the image that are not used because of it; 0 if no bytes are lost.
    package var lostBytes: UInt64
    /// How many faults there are of this kind.
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
