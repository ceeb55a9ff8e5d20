// The sums of a survey of pages.

/// What resident memory of the allocator is made of, in bytes. The parts add up to `resident`.
package struct PageSums: Equatable, Sendable {
    package var resident: UInt64 = 0
    /// As the program requested them.
    package var live: UInt64 = 0
    /// Headers and rounding of live blocks, and the allocator's records at the start of a heap.
    package var overhead: UInt64 = 0
    /// Free, on pages that a live block touches: pinned.
    package var pinned: UInt64 = 0
    /// The other parts are whole pages that no live block touches. These are what malloc_trim gives back:
    package var returned: UInt64 = 0
    /// The top of an arena, which malloc_trim leaves.
    package var top: UInt64 = 0
    /// Under chunks in use that the image doesn't have: in the caches of threads, malloc's own, or not booked.
    package var kept: UInt64 = 0
    /// Free, but malloc_trim leaves them: the rims of free chunks.
    package var rims: UInt64 = 0
    /// Of another allocator, or what lies there could not be told.
    package var unclear: UInt64 = 0

    package init() {}

    /// Bytes on pages that no live block touches.
    package var untouched: UInt64 { returned &+ top &+ kept &+ rims &+ unclear }

    /// What is surely free.
    package var free: UInt64 { pinned &+ returned &+ top &+ rims }

    package static func += (sum: inout PageSums, other: PageSums) {
        sum.resident &+= other.resident
        sum.live &+= other.live
        sum.overhead &+= other.overhead
        sum.pinned &+= other.pinned
        sum.returned &+= other.returned
        sum.top &+= other.top
        sum.kept &+= other.kept
        sum.rims &+= other.rims
        sum.unclear &+= other.unclear
    }
}

/// What the blocks of a stack, or of a class of sizes, hold and pin.
package struct PinSums: Equatable, Sendable {
    package var blocks: UInt64 = 0
    /// Requested bytes on resident pages.
    package var live: UInt64 = 0
    /// The same with headers and rounding.
    package var used: UInt64 = 0
    /// Their part of the free bytes on the pages that they touch: each page's are divided by bytes.
    package var pinned: UInt64 = 0
    /// Bytes of pages that no other stack's block touches: without these blocks the pages could be given back.
    package var alone: UInt64 = 0

    package init() {}
}

/// Pages by how full they are: live blocks with their headers, of a page's bytes.
package enum Occupancy: Int, CaseIterable, Sendable {
    case none, eighth, quarter, half, threeQuarters, full

    init(_ used: UInt64, of page: UInt64) {
        self =
            switch used * 8 / page {
            case 0: used == 0 ? .none : .eighth
            case 1: .quarter
            case 2, 3: .half
            case 4, 5: .threeQuarters
            default: .full
            }
    }
}

/// The pages of one class, and the bytes of live blocks with their headers on them.
package struct OccupancySums: Equatable, Sendable {
    package var pages: UInt64 = 0
    package var used: UInt64 = 0
}

/// A part of the allocator's memory.
package struct ArenaSums: Equatable, Sendable {
    package enum Kind: String, Sendable { case main, arena, mapped, other }

    package var kind: Kind
    /// The arena's address, where it has one.
    package var address: UInt64?
    package var heaps = 0
    package var sums = PageSums()
}
