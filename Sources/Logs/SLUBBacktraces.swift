// Decides which TRACE line a backtrace in SLUB's traces belongs to. It looks at the lines of one printer: a task or a
// processor if the prefix names it, else the whole log.
//
// Rules, for a printer that may stand for several processors:
// - A backtrace belongs to an earlier TRACE line that has none yet. If there is only one such line, it belongs to that.
// - A TRACE line inside a backtrace ends it only in logs whose backtraces have no heading. Otherwise the next frames
//   continue it, until the next heading or a frame that only begins backtraces.
// - If several TRACE lines wait, only those of the same kind (alloc, free) as the frames come into question. If several
//   are left, they become a group: at the log's end it is known whether their assignment matters.
// - Two headings without a frame between, or frames after the outermost one, mean that two backtraces are mixed:
//   neither is assigned.

import Reduce

/// The backtraces of one printer.
struct SLUBBacktraces {
    /// A TRACE line that waits for its backtrace.
    struct Pending { var address: UInt64, serial: UInt64, cache: Int, isAlloc: Bool }
    /// Lines and equally many backtraces whose assignment isn't known.
    struct Group { var members: [Pending], rows: [Int], offset: UInt64 }
    enum Outcome { case nothing, owned(Pending, row: Int), shared(Group) }

    /// The prefix distinguishes this printer's lines from all others.
    private let isAlone: Bool
    private var pending: [Pending] = []
    private var group: Group?
    /// The last line that waited when the backtrace began: it can't belong to a later one.
    private var lastCandidate: UInt64 = 0
    private var stack = KernelStack()
    private var isOpen = false
    private var hadHeading = false
    private var wasHeading = false
    private var isMixed = false
    private var hasRoot = false
    /// The outermost frames of the stack so far.
    private var roots: Set<[UInt8]> = []
    /// A TRACE line was inside the backtrace.
    private var isInterrupted = false
    private var offset: UInt64 = 0
    /// The next backtrace belongs to a warning, unless the slab allocator is in it.
    var isForeign = false

    init(isAlone: Bool) { self.isAlone = isAlone }

    /// Adds a TRACE line.
    mutating func add(_ line: Pending, _ tally: Tally) -> Outcome {
        // The previous backtrace is complete if the printer is alone or its frames have no heading.
        let outcome = isOpen && !stack.isEmpty && (isAlone || !hadHeading) ? endBacktrace(tally) : .nothing
        if isOpen { isInterrupted = true }
        pending.append(line)
        // In a log without backtraces, the list must not grow.
        if pending.count > 64 { pending.removeFirst(32) }
        return outcome
    }

    /// A line that begins a backtrace: `CPU: …`, or the heading above the frames.
    mutating func beginBacktrace(isHeading: Bool, at offset: UInt64, _ tally: Tally) -> Outcome {
        var outcome = Outcome.nothing
        if isOpen && !stack.isEmpty { outcome = endBacktrace(tally) }
        // The heading after "CPU:" belongs to it. A second one without a frame between belongs to another backtrace.
        if isOpen && stack.isEmpty && isHeading && wasHeading { isMixed = true }
        if !isOpen { open(at: offset) }
        isOpen = true
        if isHeading { (hadHeading, wasHeading) = (true, true) }
        return outcome
    }

    private mutating func open(at offset: UInt64) {
        isOpen = true
        wasHeading = false
        isInterrupted = false
        lastCandidate = pending.last?.serial ?? 0
        self.offset = offset
    }

    /// Takes a frame's line; nil if the line is not a frame.
    mutating func take(_ text: LogText, _ start: Int, _ end: Int, at offset: UInt64, _ tally: Tally) -> Outcome? {
        // arm's oldest kernels have no heading above the frames.
        if !isOpen && pending.isEmpty { return nil }
        var outcome = Outcome.nothing
        if isInterrupted, !stack.isEmpty, KernelFrameTraits.beginsBacktrace(text, start, end),
            !stack.isInAllocator(tally)
        {
            outcome = endBacktrace(tally)
        }
        let wasOpen = isOpen
        guard stack.take(text, start, end, tally) else { return nil }
        if !wasOpen { open(at: offset) }
        // A frame with x86's "?" may be any word of the stack, so it tells nothing about the order.
        guard !isAlone, let frame = stack.lastReliable else { return outcome }
        let traits = tally.traits(of: frame)
        if traits.contains(.isRoot) {
            // A backtrace has each outermost function only once.
            if !roots.insert(tally.frames[Int(frame)].name).inserted { isMixed = true }
            hasRoot = true
        } else if hasRoot && traits.contains(.isNamed) && !traits.contains(.isOuter) {
            isMixed = true
        }
        return outcome
    }

    /// Ends the open backtrace, and returns the remaining groups.
    mutating func end(_ tally: Tally) -> [Outcome] {
        var outcomes: [Outcome] = []
        if !stack.isEmpty { outcomes.append(endBacktrace(tally)) }
        if let group { outcomes.append(.shared(group)) }
        group = nil
        return outcomes
    }

    private mutating func endBacktrace(_ tally: Tally) -> Outcome {
        defer {
            stack.clear()
            roots.removeAll()
            (isOpen, wasHeading, isMixed, hasRoot, isInterrupted, isForeign) = (
                false, false, false, false, false, false
            )
        }
        let frames = stack.frames(tally)
        let isAlloc = Self.allocates(frames, tally)
        if isForeign && isAlloc == nil { return .nothing }
        var owners = pending.filter { $0.serial <= lastCandidate }
        if let isAlloc, owners.contains(where: { $0.isAlloc == isAlloc }) { owners.removeAll { $0.isAlloc != isAlloc } }
        guard !owners.isEmpty else {
            tally.notes.add(.noOwner, at: offset)
            return .nothing
        }
        if isMixed {
            // As many lines lose their backtrace as there are headings: at least two.
            tally.notes.add(.mixedStacks, at: offset)
            let lost = Set(owners.prefix(2).map(\.serial))
            pending.removeAll { lost.contains($0.serial) }
            return .nothing
        }
        let row = tally.row(frames)
        // All are frees, so the assignment changes nothing.
        if isAlone || owners.count == 1 || owners.allSatisfy({ !$0.isAlloc }),
            group.map({ group in !group.members.contains { $0.serial == owners[0].serial } }) ?? true
        {
            pending.removeAll { $0.serial == owners[0].serial }
            return .owned(owners[0], row: row)
        }
        var group = group ?? Group(members: [], rows: [], offset: offset)
        let known = Set(group.members.map(\.serial))
        group.members += owners.filter { !known.contains($0.serial) }
        group.rows.append(row)
        guard group.rows.count >= group.members.count || group.members.count > 64 else {
            self.group = group
            return .nothing
        }
        self.group = nil
        let settled = Set(group.members.map(\.serial))
        pending.removeAll { settled.contains($0.serial) }
        return .shared(group)
    }

    /// Whether a backtrace is an allocation's, by the allocator's functions at its inner end; nil if there are none.
    private static func allocates(_ frames: [UInt32], _ tally: Tally) -> Bool? {
        for frame in frames.prefix(10) {
            let traits = tally.traits(of: frame)
            if traits.contains(.allocates) { return true }
            if traits.contains(.frees) { return false }
        }
        return nil
    }
}

extension KernelStack {
    /// True while all frames so far belong to the printing and debugging functions at a backtrace's start.
    func isInAllocator(_ tally: Tally) -> Bool { frames(tally).allSatisfy { tally.traits(of: $0).contains(.prints) } }
}
