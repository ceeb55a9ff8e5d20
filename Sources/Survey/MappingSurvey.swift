// A running process's address space by who made it: what is booked as mapped by the program, and the rest. The kernel's
// list of mappings (/proc/PID/maps) is the truth; the image says whose they are.
//
// Invariant: each mapped byte is in one part, and the parts add up to the kernel's list. What nobody saw being made is
// counted as that, and not guessed.

import CHeapImage
import Glibc
import HeapImage
import Proc
import SystemPackage

/// A running process's mappings by who made them.
package struct MappingSurvey: Equatable, Sendable {
    package enum Part: Int, CaseIterable, Sendable {
        case program, allocator, heap, mallocs, threadStacks, firstStack, files, heapsum, kernel, unseen

        /// For people.
        package var text: String {
            switch self {
            case .program: "mapped by the program itself"
            case .allocator: "mapped by the allocator"
            case .heap: "the heap that the break bounds"
            case .mallocs: "libc's malloc: arenas, and blocks with mappings of their own"
            case .threadStacks: "stacks of threads"
            case .firstStack: "the first thread's stack"
            case .files: "programs, libraries and other files that libc mapped"
            case .heapsum: "heapsum's own"
            case .kernel: "the kernel's"
            case .unseen: "not seen being made: before the recording, or by libc and the loader"
            }
        }
    }

    package struct Sum: Equatable, Sendable {
        package var ranges: UInt64 = 0
        package var bytes: UInt64 = 0
    }

    package private(set) var sums = [Sum](repeating: Sum(), count: Part.allCases.count)
    /// Booked, and not there any more when the kernel was asked.
    package private(set) var gone = Sum()
    /// What nobody saw being made.
    package private(set) var unseen: [Range<UInt64>] = []

    package subscript(part: Part) -> Sum { sums[part.rawValue] }

    /// - Parameters:
    ///   - booked: the image's, in order of address.
    ///   - kernels: the process's, in order of address.
    ///   - mallocs: where malloc has memory.
    ///   - own: heapsum's, besides the image.
    ///   - stackAddresses: one on each thread's stack, as far as known.
    package init(
        booked: [ProgramMapping], kernels: [Mapping], mallocs: [Range<UInt64>], own: [Range<UInt64>],
        stackAddresses: [UInt64]
    ) {
        var next = 0
        let arenas = Set(mallocs.map { $0.lowerBound >> 26 })
        var endOfFile: UInt64 = 0
        for entry in kernels {
            var at = entry.start
            defer { if entry.inode != 0 { endOfFile = entry.end } }
            while next < booked.count && booked[next].range.upperBound <= entry.start { next += 1 }
            var index = next
            while at < entry.end {
                let isBooked = index < booked.count && booked[index].range.lowerBound < entry.end
                let start = isBooked ? max(booked[index].range.lowerBound, at) : entry.end
                if at < start {
                    // A library's data that its file doesn't have follows the file.
                    if entry.inode == 0 && at == endOfFile && entry.path.isEmpty {
                        add(at ..< start, to: .files)
                    } else {
                        add(rest: at ..< start, of: entry, mallocs, arenas, own, stackAddresses)
                    }
                    at = start
                }
                guard isBooked, at < entry.end else { continue }
                let end = min(booked[index].range.upperBound, entry.end)
                add(at ..< end, to: booked[index].kind == .allocator ? .allocator : .program)
                at = end
                if booked[index].range.upperBound <= end { index += 1 }
            }
        }
        var cursor = 0
        for mapping in booked {
            while cursor < kernels.count && kernels[cursor].end <= mapping.range.lowerBound { cursor += 1 }
            var there: UInt64 = 0, index = cursor
            while index < kernels.count && kernels[index].start < mapping.range.upperBound {
                there &+=
                    min(kernels[index].end, mapping.range.upperBound)
                    - max(kernels[index].start, mapping.range.lowerBound)
                index += 1
            }
            if there < mapping.bytes {
                gone.ranges += 1
                gone.bytes &+= mapping.bytes - there
            }
        }
    }

    private mutating func add(_ range: Range<UInt64>, to part: Part) {
        sums[part.rawValue].ranges += 1
        sums[part.rawValue].bytes &+= range.upperBound - range.lowerBound
    }

    private mutating func add(
        rest: Range<UInt64>, of entry: Mapping, _ mallocs: [Range<UInt64>], _ arenas: Set<UInt64>,
        _ own: [Range<UInt64>], _ stackAddresses: [UInt64]
    ) {
        let path = entry.path
        func has(_ ranges: [Range<UInt64>]) -> Bool { ranges.contains { $0.overlaps(rest) } }
        if ResidentSplit.isImage(path) || has(own) {
            add(rest, to: .heapsum)
        } else if path == "[heap]" {
            add(rest, to: .heap)
        } else if path == "[stack]" {
            add(rest, to: .firstStack)
        } else if ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(path) {
            add(rest, to: .kernel)
        } else if entry.inode != 0 {
            add(rest, to: .files)
        } else if stackAddresses.contains(where: { rest.contains($0) }) {
            add(rest, to: .threadStacks)
        } else if has(mallocs) || arenas.contains(rest.lowerBound >> 26) {
            add(rest, to: .mallocs)
        } else {
            add(rest, to: .unseen)
            unseen.append(rest)
        }
    }

    /// Surveys a running process.
    ///
    /// - Parameter image: the process's own, not a copy.
    /// - Returns: nil if its mappings were not booked, or can't be read.
    package static func take(of processID: pid_t, image: HeapImage) -> MappingSurvey? {
        guard image.hasMappings, let kernels = try? mappings(of: processID) else { return nil }
        let extents = image.allocatorExtents()
        return MappingSurvey(
            booked: image.mappings(), kernels: kernels, mallocs: extents.small + extents.large,
            own: image.scratchRanges(), stackAddresses: image.stackAddresses())
    }
}
