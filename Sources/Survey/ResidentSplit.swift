// All of a process's resident memory by whom it is held: the survey of the allocator's pages, and the kernel's sizes of
// all mappings. The kernel is asked for the two one after the other, so malloc's parts are cut to what the mappings
// have. The parts always add up to the sum of the mappings' resident sizes, as /proc/PID/smaps_rollup has it.

import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// A process's resident bytes.
package struct ResidentSplit: Equatable {
    /// Live blocks with their headers and rounding.
    package var held: UInt64 = 0
    /// Free, on pages that live blocks touch.
    package var pinned: UInt64 = 0
    /// Free pages that the allocator keeps. Of another allocator than glibc's, all pages without a live block.
    package var retained: UInt64 = 0
    /// In use for malloc, but no live block of the image: in the caches of threads, malloc's own, or not booked.
    package var unbooked: UInt64 = 0
    /// The allocator's pages that could not be told apart.
    package var unclear: UInt64 = 0
    /// Anonymous memory that is not the allocator's: the program's own mappings, stacks, other allocators.
    package var others: UInt64 = 0
    /// Programs, libraries and their data, mapped files.
    package var files: UInt64 = 0
    package var shared: UInt64 = 0
    /// heapsum's own.
    package var image: UInt64 = 0
    /// The largest mapping among the others.
    package var largestOther: (range: Range<UInt64>, bytes: UInt64)?
    /// When the mappings were read, in nanoseconds since 1970.
    package var takenRealtimeNanoseconds: UInt64 = 0

    private var parts: [UInt64] { [held, pinned, retained, unbooked, unclear, others, files, shared, image] }
    package var total: UInt64 { parts.reduce(0, &+) }

    package static func == (one: ResidentSplit, other: ResidentSplit) -> Bool {
        one.parts == other.parts
    }

    /// - Parameter mappings: of the surveyed process, in order of address.
    package init(_ mappings: [ResidentMapping], _ survey: PageSurvey) {
        var allocator: UInt64 = 0, next = 0
        let runs = survey.runs
        for entry in mappings {
            let bounds = entry.mapping.start ..< entry.mapping.end, path = entry.mapping.path
            while next < runs.count && runs[next].upperBound <= bounds.lowerBound { next += 1 }
            var own: UInt64 = 0, at = next
            while at < runs.count && runs[at].lowerBound < bounds.upperBound {
                let common = runs[at].clamped(to: bounds)
                own &+= common.upperBound - common.lowerBound
                at += 1
            }
            own = min(own, entry.residentBytes)
            allocator &+= own
            let rest = entry.residentBytes &- own
            if entry.mapping.isShared {
                if Self.isImage(path) {
                    image &+= rest
                } else if Self.isMemory(path) {
                    shared &+= rest
                } else {
                    files &+= rest
                }
            } else if !entry.isAnonymous || ["[vdso]", "[vvar]", "[vsyscall]"].contains(path) {
                files &+= rest
            } else {
                others &+= rest
                if rest > largestOther?.bytes ?? 0 { largestOther = (bounds, rest) }
            }
        }
        let sums = survey.sums
        func take(_ bytes: UInt64) -> UInt64 {
            let taken = min(bytes, allocator)
            allocator &-= taken
            return taken
        }
        held = take(sums.live &+ sums.overhead)
        pinned = take(sums.pinned)
        unbooked = take(sums.kept)
        retained = take(survey.isGlibc ? sums.returned &+ sums.top &+ sums.rims : .max)
        unclear = allocator
    }

    private static func isMemory(_ path: String) -> Bool {
        path.isEmpty || ["/dev/", "/memfd:", "/SYSV", "/anon_hugepage"].contains { path.hasPrefix($0) }
    }

    private static func isImage(_ path: String) -> Bool {
        path.hasSuffix(".heap") || path.hasSuffix(".heap (deleted)") || path.hasPrefix("/memfd:heapsum")
    }

    /// Reads the mappings of a process, just after its survey.
    ///
    /// - Returns: nil if they can't be read any more.
    package static func take(of processID: pid_t, _ survey: PageSurvey) -> ResidentSplit? {
        guard let mappings = try? residentMappings(of: processID), !mappings.isEmpty else { return nil }
        var split = ResidentSplit(mappings, survey)
        split.takenRealtimeNanoseconds = clockNanoseconds(CLOCK_REALTIME)
        return split
    }
}
