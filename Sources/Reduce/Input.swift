// One input of a reduction, as reports describe it: an image, a dump or a log.

import HeapImage

/// One file that was reduced.
package struct Input {
    package var path: String
    /// "image", "dump", or the kind of log.
    package var kind: String
    package var program: String?
    package var processID: UInt32?
    package var state: String
    package var sets = 1
    /// Records that could not be used: the input was cut off, or they make no sense.
    package var recordsLost: UInt64 = 0
    package var damages: [Damage] = []
    /// What was skipped because it is not about allocations: lines of other programs in a log.
    package var passedOver: [Damage] = []
    /// Which set of a log this is, and of how many, as text.
    package var detail: String?
    /// What was live when it was taken.
    package var bytes: UInt64 = 0
    package var blocks: UInt64 = 0
    package var peakBytes: UInt64?
    package var image: HeapImage?
    package var census: Census?
    /// The verdict, if the image stores one.
    package var verdict: StoredVerdict?

    /// Whether its frames may be the kernel's.
    package var isOfKernel = false

    package var damaged: Bool { !damages.isEmpty }

    package init(path: String, kind: String, state: String = "unknown") {
        self.path = path
        self.kind = kind
        self.state = state
    }
}
