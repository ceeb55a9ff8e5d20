// A survey of the allocator's pages: what is on each, and who holds it. It joins two lists in order of address, the
// live blocks and the runs of resident pages, in one pass. Between two blocks malloc's own headers say what is free.
//
// Invariant: each resident byte of the allocator's spans is in one part of the sums. The blocks are of the image's
// moment, pages and headers of now: what does not fit together is counted as unclear, never guessed.

import CHeapImage
import Glibc
import HeapImage
import Leaks
import Proc
import Text

/// Which stacks count as one: several of an image may have the same frames.
package struct StackGroups {
    /// The group of each of the image's stacks.
    package var ofStack: [UInt32]
    package var count: Int

    /// - Parameter count: larger than all groups' numbers.
    package init(ofStack: [UInt32], count: Int) {
        (self.ofStack, self.count) = (ofStack, max(count, 1))
    }

    /// A stack that the image doesn't have counts as the empty one, group 0. Blocks that the image doesn't have are one
    /// group more.
    @inline(__always) func group(_ stack: UInt32) -> Int {
        if stack == BlockTable.earlierStack { return count }
        let group = Int(stack) < ofStack.count ? Int(ofStack[Int(stack)]) : 0
        return group < count ? group : 0
    }
}

/// What a process's allocator has in memory.
package struct PageSurvey {
    /// A power of two: the kernel's; 4,096 for blocks of an image, whose own unit that is.
    package internal(set) var pageBytes: UInt64 = 4096
    package internal(set) var sums = PageSums()
    package internal(set) var arenas: [ArenaSums] = []
    package internal(set) var occupancy = [OccupancySums](repeating: OccupancySums(), count: Occupancy.allCases.count)
    /// By the group of a block's stack.
    package internal(set) var groups: [PinSums]
    /// By the number of bits of a block's bytes.
    package internal(set) var sizes = [PinSums](repeating: PinSums(), count: UInt64.bitWidth + 1)
    /// Resident runs of the spans, for those who add up all of the process.
    package internal(set) var runs: [Range<UInt64>] = []
    package internal(set) var swappedBytes: UInt64 = 0
    /// An address in the stack of each thread but the main one, in order; none if they could not be found.
    package internal(set) var threadStacks: [UInt64] = []
    /// Whether pages were looked up. Else each page with a live block counts as resident.
    package internal(set) var hasResidency = false
    /// Whether all pages that count were in memory, now or at the program's end.
    package var knowsPages: Bool { hasResidency || isOfEnd }
    package internal(set) var isGlibc = false
    package internal(set) var parameters: MallocParameters?
    /// If it was asked for.
    package internal(set) var map: PageMap?
    /// Blocks that are live but not in the image; nil if there is no reason for any.
    package internal(set) var earlier: EarlierSums?
    /// Whether the pages are those of the program's end, which its image stored.
    package internal(set) var isOfEnd = false
    /// What a reader should know.
    package internal(set) var notes: [String] = []
    /// How long the process was read, in nanoseconds. It ran meanwhile.
    package internal(set) var nanoseconds: UInt64 = 0

    init(_ groups: StackGroups) { self.groups = Array(repeating: PinSums(), count: groups.count + 1) }

    /// Takes the last group, which is that of the blocks that the image doesn't have, from the others.
    mutating func setEarlierApart() {
        if let sums = groups.popLast() { earlier?.sums = sums }
    }

    private static func isGlibc(_ image: HeapImage) -> Bool {
        image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
    }

    /// Surveys a running process.
    ///
    /// - Parameters:
    ///   - image: the process's, or a copy of it.
    ///   - blocks: the image's, if they were read already.
    ///   - cells: about how many cells the map of the pages should have; nil: no map.
    ///   - since: where the recording stood before the image was read; only for images that may lack blocks.
    /// - Throws: `InputError` if the process is gone, may not be looked into, or its image lacks blocks by design.
    /// - Complexity: O(blocks + resident pages), and a few readings of memory for each gap of a page or more.
    package static func take(
        of processID: pid_t, image: HeapImage, blocks known: SortedBlocks? = nil, since: RecordingPoint? = nil,
        groups: StackGroups, cells: UInt64? = nil
    ) throws(InputError) -> PageSurvey {
        func fail(_ why: String) -> InputError { InputError(file: image.file, what: why) }
        try refuse(image)
        guard let thread = Presence.livingThread(of: UInt32(bitPattern: processID)).map({ pid_t(bitPattern: $0) })
        else {
            throw fail("its process is gone")
        }
        var blocks = (known ?? SortedBlocks(image)).sorted()
        let began = clockNanoseconds(CLOCK_MONOTONIC)
        guard var program = RunningProgram(thread: thread), let pages = PresentPages(processID: thread) else {
            throw fail("its pages can't be looked up: \(String(cString: strerror(errno)))")
        }
        var survey = PageSurvey(groups)
        survey.pageBytes = pages.pageBytes
        survey.hasResidency = true
        survey.earlier = EarlierSums(image)
        survey.isGlibc = isGlibc(image)
        let found = survey.addEarlier(thread: thread, since, to: &blocks)
        if let walked = found?.program { program = walked }
        let heaps = found?.heaps ?? (survey.isGlibc ? GlibcHeaps(program) : nil)
        survey.parameters = heaps?.parameters
        survey.notes += heaps?.notes ?? []
        if survey.isGlibc && heaps == nil {
            survey.notes.append("malloc's arenas were not found: what a trim returns is not foretold")
        }
        let spans =
            heaps.map { Spans(blocks: blocks, $0, program, pageBytes: pages.pageBytes) }
            ?? Spans(blocks: blocks, program)
        survey.arenas = spans.arenas
        let runs = spans.spans.map { pages.runs(of: $0.range) }
        var sweep = Sweep(
            blocks: blocks, groups: groups, survey: survey, memory: ProgramMemory(program.memory),
            hugePageBytes: heaps?.parameters?.hugePageBytes ?? 0, map: survey.map(runs, cells))
        for (span, runs) in zip(spans.spans, runs) { sweep.pass(span, runs: runs) }
        survey = sweep.finish()
        survey.setEarlierApart()
        survey.swappedBytes = pages.swappedBytes
        survey.threadStacks = program.stackDescriptors(besides: processID).sorted()
        survey.nanoseconds = clockNanoseconds(CLOCK_MONOTONIC) - began
        if pages.isGone { throw fail("its process ended meanwhile") }
        if pages.isExhausted {
            throw fail("its allocator covers more than 8 TB of addresses, and that many pages are not looked up")
        }
        if spans.vanished > 0 {
            survey.notes.append(
                "\(counted(UInt64(spans.vanished), "block")) were freed or moved meanwhile, and are left out")
        }
        survey.noteWhatIsNotBooked(image)
        return survey
    }

    /// Surveys the live blocks of a dump, or of the image of a program that has ended: which pages they lie on, and how
    /// full these are. What was resident is not known.
    ///
    /// - Throws: `InputError` if the image lacks blocks by design.
    /// - Complexity: O(blocks log blocks)
    package static func take(
        ofBlocksIn image: HeapImage, blocks known: SortedBlocks? = nil, groups: StackGroups, cells: UInt64? = nil
    ) throws(InputError) -> PageSurvey {
        try refuse(image)
        let blocks = (known ?? SortedBlocks(image)).sorted()
        var survey = PageSurvey(groups)
        survey.isGlibc = isGlibc(image)
        survey.earlier = EarlierSums(image)
        survey.earlier?.gaps = ["the process is not there to ask"]
        let spans = Spans(blocks: blocks, hasHeaders: survey.isGlibc)
        survey.arenas = spans.arenas
        let stored = image.storedPages()
        survey.isOfEnd = stored != nil
        let pages = Sweep(blocks: blocks, groups: groups, survey: survey, memory: nil, hugePageBytes: 0)
        let runs = spans.spans.map { span in
            let touched = pages.pages(of: span)
            return stored.map { common(touched, $0) } ?? touched
        }
        var sweep = Sweep(
            blocks: blocks, groups: groups, survey: survey, memory: nil, hugePageBytes: 0,
            map: survey.map(runs, cells))
        for (span, runs) in zip(spans.spans, runs) { sweep.pass(span, runs: runs) }
        survey = sweep.finish()
        survey.setEarlierApart()
        survey.noteWhatIsNotBooked(image)
        return survey
    }

    private func map(_ runs: [[Range<UInt64>]], _ cells: UInt64?) -> PageMap? {
        guard let cells else { return nil }
        let bytes = runs.joined().reduce(0) { $0 &+ ($1.upperBound - $1.lowerBound) }
        return PageMap(pages: bytes / pageBytes, of: pageBytes, cells: cells)
    }

    private static func refuse(_ image: HeapImage) throws(InputError) {
        guard image.isSampled else { return }
        throw InputError(
            file: image.file,
            what: "sampled: most blocks are not in it, so it can't tell which pages they pin: record without --sample")
    }

    private mutating func noteWhatIsNotBooked(_ image: HeapImage) {
        if let earlier { notes += earlier.notes }
        if image.hasFlag(HEAP_FLAG_STOPPED) {
            notes.append("the recording stopped before the program ended: later blocks and frees are not known")
        }
    }
}
