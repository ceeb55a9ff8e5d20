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

    /// A stack that the image doesn't have counts as the empty one, group 0.
    @inline(__always) func group(_ stack: UInt32) -> Int {
        let group = Int(stack) < ofStack.count ? Int(ofStack[Int(stack)]) : 0
        return group < count ? group : 0
    }
}

/// What a process's allocator has in memory.
package struct PageSurvey {
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
    /// Whether pages were looked up. Else each page with a live block counts as resident.
    package internal(set) var hasResidency = false
    package internal(set) var isGlibc = false
    package internal(set) var parameters: MallocParameters?
    /// What a reader should know.
    package internal(set) var notes: [String] = []
    /// How long the process was read, in nanoseconds. It ran meanwhile.
    package internal(set) var nanoseconds: UInt64 = 0

    init(_ groups: StackGroups) { self.groups = Array(repeating: PinSums(), count: groups.count) }

    /// The live blocks in order of address, as the image has them.
    ///
    /// - Complexity: O(blocks log blocks) at the worst; 24 bytes of memory for each block.
    private static func sortedBlocks(_ image: HeapImage) -> [LiveBlock] {
        var blocks: [LiveBlock] = []
        image.forEachBlock { batch in
            for index in batch.indices where isPossible(batch[index]) { blocks.append(batch[index]) }
        }
        blocks.sort { $0.address < $1.address }
        return blocks
    }

    // User addresses have at most 56 bits, and the lowest page is never mapped.
    private static func isPossible(_ block: LiveBlock) -> Bool {
        block.address >= 4096 && block.address < 1 << 56 && block.bytes < 1 << 56
    }

    private static func isGlibc(_ image: HeapImage) -> Bool {
        image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
    }

    /// Surveys a running process.
    ///
    /// - Parameter image: the process's, or a copy of it.
    /// - Throws: `InputError` if the process is gone, may not be looked into, or its image lacks blocks by design.
    /// - Complexity: O(blocks + resident pages), and a few readings of memory for each gap of a page or more.
    package static func take(
        of processID: pid_t, image: HeapImage, groups: StackGroups
    ) throws(InputError) -> PageSurvey {
        func fail(_ why: String) -> InputError { InputError(file: image.file, what: why) }
        try refuse(image)
        guard let thread = Presence.livingThread(of: UInt32(bitPattern: processID)).map({ pid_t(bitPattern: $0) })
        else {
            throw fail("its process is gone")
        }
        let blocks = sortedBlocks(image)
        let began = clockNanoseconds(CLOCK_MONOTONIC)
        guard let program = RunningProgram(thread: thread), let pages = PresentPages(processID: thread) else {
            throw fail("its pages can't be looked up: \(String(cString: strerror(errno)))")
        }
        guard pages.pageBytes == 4096 else {
            throw fail("its pages have \(pages.pageBytes) bytes: only those of 4,096 can be surveyed")
        }
        var survey = PageSurvey(groups)
        survey.hasResidency = true
        let heaps = isGlibc(image) ? GlibcHeaps(program) : nil
        survey.isGlibc = isGlibc(image)
        survey.parameters = heaps?.parameters
        survey.notes += heaps?.notes ?? []
        if survey.isGlibc && heaps == nil {
            survey.notes.append("malloc's arenas were not found: what a trim returns is not foretold")
        }
        let spans = heaps.map { Spans(blocks: blocks, $0, program) } ?? Spans(blocks: blocks, program)
        survey.arenas = spans.arenas
        var sweep = Sweep(
            blocks: blocks, groups: groups, survey: survey, memory: ProgramMemory(program.memory),
            hugePageBytes: heaps?.parameters?.hugePageBytes ?? 0)
        for span in spans.spans { sweep.pass(span, runs: pages.runs(of: span.range)) }
        survey = sweep.finish()
        survey.swappedBytes = pages.swappedBytes
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
        ofBlocksIn image: HeapImage, groups: StackGroups
    ) throws(InputError) -> PageSurvey {
        try refuse(image)
        let blocks = sortedBlocks(image)
        var survey = PageSurvey(groups)
        survey.isGlibc = isGlibc(image)
        let spans = Spans(blocks: blocks, hasHeaders: survey.isGlibc)
        survey.arenas = spans.arenas
        var sweep = Sweep(blocks: blocks, groups: groups, survey: survey, memory: nil, hugePageBytes: 0)
        for span in spans.spans { sweep.pass(span, runs: sweep.pages(of: span)) }
        survey = sweep.finish()
        survey.noteWhatIsNotBooked(image)
        return survey
    }

    private static func refuse(_ image: HeapImage) throws(InputError) {
        guard image.isSampled else { return }
        throw InputError(
            file: image.file,
            what: "sampled: most blocks are not in it, so it can't tell which pages they pin: record without --sample")
    }

    private static let unbookedCount = "they count as free on pages with other live blocks, and as not booked on others"

    private mutating func noteWhatIsNotBooked(_ image: HeapImage) {
        if image.hasFlag(HEAP_FLAG_FORKED) {
            notes.append("blocks that the process inherited by fork are not in the image: \(Self.unbookedCount)")
        }
        if image.hasFlag(HEAP_FLAG_ATTACHED) {
            notes.append("blocks from before the recording was attached are not in the image: \(Self.unbookedCount)")
        }
        let lost = image.losses.lost_allocations &+ image.losses.early_allocations &+ image.losses.paused_allocations
        if lost > 0 {
            notes.append("\(counted(lost, "allocation")) could not be booked: \(Self.unbookedCount)")
        }
        if image.hasFlag(HEAP_FLAG_STOPPED) {
            notes.append("the recording stopped before the program ended: later blocks and frees are not known")
        }
    }
}
