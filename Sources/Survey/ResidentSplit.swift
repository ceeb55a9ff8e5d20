// All of a process's resident memory by whom it is held: the survey of the allocator's pages, and the kernel's sizes of
// all mappings. The kernel is asked for the two one after the other, so malloc's parts are cut to what the mappings
// have. The parts always add up to the sum of the mappings' resident sizes, as /proc/PID/smaps_rollup has it.

import Glibc
import HeapImage
import Leaks
import Proc
import SystemPackage
import Text

/// A process's resident bytes.
package struct ResidentSplit: Equatable {
    /// Live blocks with their headers and rounding.
    package var held: UInt64 = 0
    /// Live blocks that the image doesn't have, with their headers and rounding, as far as they were found.
    package var earlier: UInt64 = 0
    /// Free, on pages that live blocks touch.
    package var pinned: UInt64 = 0
    /// Free pages that the allocator keeps. Of another allocator than glibc's, all pages without a live block.
    package var retained: UInt64 = 0
    /// In use for malloc, but no live block of the image: in the caches of threads, malloc's own, or not booked.
    package var unbooked: UInt64 = 0
    /// The allocator's pages that could not be told apart.
    package var unclear: UInt64 = 0
    /// Stacks, as far as glibc's list of threads has them.
    package var stacks: UInt64 = 0
    /// Private anonymous memory that the program is known to have mapped itself.
    package var mapped: UInt64 = 0
    /// Anonymous memory that is not the allocator's: the program's own mappings, other stacks, other allocators.
    package var others: UInt64 = 0
    /// Programs, libraries and their data, mapped files.
    package var files: UInt64 = 0
    package var shared: UInt64 = 0
    /// heapsum's own.
    package var image: UInt64 = 0
    /// One mapping, for those who name the largest.
    package struct Part: Equatable, Sendable {
        package var start: UInt64
        package var bytes: UInt64
        package var end: UInt64
        /// The kernel's name; of memory without one that follows a file's, the file's. Empty: none.
        package var name: String
        /// In `take`'s result: whether it is all .bss of that file.
        package var isBehindFile = false
    }

    /// The largest mappings among the others, the files and the shared ones.
    package var largestOther: Part?
    package var largestFile: Part?
    package var largestShared: Part?
    /// When the mappings were read, in nanoseconds since 1970.
    package var takenRealtimeNanoseconds: UInt64 = 0

    private var parts: [UInt64] {
        [held, earlier, pinned, retained, unbooked, unclear, stacks, mapped, others, files, shared, image]
    }
    package var total: UInt64 { parts.reduce(0, &+) }

    package static func == (one: ResidentSplit, other: ResidentSplit) -> Bool {
        one.parts == other.parts
    }

    /// - Parameters:
    ///   - mappings: of the surveyed process, in order of address.
    ///   - booked: resident runs of what the program mapped itself, in order of address.
    package init(_ mappings: [ResidentMapping], _ survey: PageSurvey, booked: [Range<UInt64>] = []) {
        var allocator: UInt64 = 0, next = 0, nextBooked = 0, thread = 0, before: ResidentMapping?
        let runs = survey.runs, threads = survey.threadStacks
        func enlarge(_ largest: inout Part?, _ rest: UInt64, _ entry: ResidentMapping) {
            guard rest > largest?.bytes ?? 0 else { return }
            var part = Part(
                start: entry.mapping.start, bytes: rest, end: entry.mapping.end, name: entry.mapping.path)
            if part.name.isEmpty, let before, !before.isAnonymous, before.mapping.end == entry.mapping.start {
                (part.name, part.isBehindFile) = (before.mapping.path, true)
            }
            largest = part
        }
        for entry in mappings {
            defer { before = entry }
            let bounds = entry.mapping.start ..< entry.mapping.end, path = entry.mapping.path
            while thread < threads.count && threads[thread] < bounds.lowerBound { thread += 1 }
            let own = min(entry.residentBytes, Self.common(runs, bounds, from: &next))
            allocator &+= own
            let rest = entry.residentBytes &- own
            if entry.mapping.isShared {
                if Self.isImage(path) {
                    image &+= rest
                } else if Self.isMemory(path) {
                    shared &+= rest
                    enlarge(&largestShared, rest, entry)
                } else {
                    files &+= rest
                    enlarge(&largestFile, rest, entry)
                }
            } else if !entry.isAnonymous || ["[vdso]", "[vvar]", "[vsyscall]"].contains(path) {
                files &+= rest
                enlarge(&largestFile, rest, entry)
            } else if path == "[stack]" || (thread < threads.count && bounds.contains(threads[thread])) {
                stacks &+= rest
            } else {
                let known = min(rest, Self.common(booked, bounds, from: &nextBooked))
                mapped &+= known
                others &+= rest - known
                enlarge(&largestOther, rest - known, entry)
            }
        }
        let sums = survey.sums
        func take(_ bytes: UInt64) -> UInt64 {
            let taken = min(bytes, allocator)
            allocator &-= taken
            return taken
        }
        let earlier = survey.earlier?.sums.used ?? 0
        held = take(sums.live &+ sums.overhead &- earlier)
        self.earlier = take(earlier)
        pinned = take(sums.pinned)
        unbooked = take(sums.kept)
        retained = take(survey.isGlibc ? sums.returned &+ sums.top &+ sums.rims : .max)
        unclear = allocator
    }

    private static func isMemory(_ path: String) -> Bool {
        path.isEmpty || ["/dev/", "/memfd:", "/SYSV", "/anon_hugepage"].contains { path.hasPrefix($0) }
    }

    /// The bytes that sorted ranges have in `bounds`. `next` moves on with rising bounds.
    private static func common(_ ranges: [Range<UInt64>], _ bounds: Range<UInt64>, from next: inout Int) -> UInt64 {
        while next < ranges.count && ranges[next].upperBound <= bounds.lowerBound { next += 1 }
        var sum: UInt64 = 0, at = next
        while at < ranges.count && ranges[at].lowerBound < bounds.upperBound {
            let common = ranges[at].clamped(to: bounds)
            sum &+= common.upperBound - common.lowerBound
            at += 1
        }
        return sum
    }

    static func isImage(_ path: String) -> Bool {
        path.hasSuffix(".heap") || path.hasSuffix(".heap (deleted)") || path.hasPrefix("/memfd:heapsum")
    }

    /// Reads the mappings of a process, just after its survey.
    ///
    /// - Parameter booked: what the program mapped itself.
    /// - Returns: nil if they can't be read any more.
    package static func take(
        of processID: pid_t, _ survey: PageSurvey, booked: [ProgramMapping] = []
    ) -> ResidentSplit? {
        var runs: [Range<UInt64>] = []
        if !booked.isEmpty, let pages = PresentPages(processID: processID) {
            for mapping in booked where mapping.kind != .allocator { runs += pages.runs(of: mapping.range) }
        }
        guard let mappings = try? residentMappings(of: processID), !mappings.isEmpty else { return nil }
        var split = ResidentSplit(mappings, survey, booked: runs)
        split.takenRealtimeNanoseconds = clockNanoseconds(CLOCK_REALTIME)
        if var part = split.largestOther, part.isBehindFile,
            RunningProgram(thread: processID)?.variablesEnd(behind: part.start) ?? 0 < part.end
        {
            (part.name, part.isBehindFile) = ("", false)
            split.largestOther = part
        }
        return split
    }
}
