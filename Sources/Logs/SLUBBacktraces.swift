// Whose a backtrace in SLUB's traces is: of those TRACE lines that came from one printer, a task or a processor where
// the prefix tells them apart, or all of the log where it doesn't.
//
// Rules, for a printer that may stand for several processors:
// - A backtrace belongs to a TRACE line that stands before it and has none yet; where there is one such line, to that.
// - A TRACE line inside a backtrace ends it only in logs whose backtraces have no heading. Else the frames that follow
//   go on with it, until the next heading, or a frame that only begins backtraces.
// - Of several TRACE lines without a backtrace, those of the kind (alloc, free) that the frames are of are asked. Where
//   several are left, they are a group: the log's end shows whether it matters which of their backtraces is whose.
// - Two headings with no frame between them, or frames behind the outermost one, are two backtraces mixed: neither is
//   given.

import Reduce

/// The backtraces of one printer.
struct SLUBBacktraces {
    /// A TRACE line that waits for its backtrace.
    struct Pending { var address: UInt64, serial: UInt64, cache: Int, isAlloc: Bool }
    /// Lines, and as many backtraces, of which nobody can tell which is whose.
    struct Group { var members: [Pending], rows: [Int], offset: UInt64 }
    enum Outcome { case nothing, owned(Pending, row: Int), shared(Group) }

    /// The prefix tells this printer's lines from all others'.
    private let isAlone: Bool
    private var pending: [Pending] = []
    private var group: Group?
    /// The last line that waited when the backtrace began: later ones are not its.
    private var lastCandidate: UInt64 = 0
    private var stack = KernelStack()
    private var isOpen = false
    private var hadHeading = false
    private var wasHeading = false
    private var isMixed = false
    private var hasRoot = false
    /// The outermost frames of the stack so far.
    private var roots: Set<[UInt8]> = []
    /// A TRACE line stood inside the backtrace.
    private var isInterrupted = false
    private var offset: UInt64 = 0
    /// The next backtrace belongs to a warning, unless the slab allocator is in it.
    var isForeign = false

    init(isAlone: Bool) { self.isAlone = isAlone }

    /// Adds a TRACE line.
    mutating func add(_ line: Pending, _ tally: Tally) -> Outcome {
        // Alone, or with frames that no heading announces, the backtrace before is whole.
        let outcome = isOpen && !stack.isEmpty && (isAlone || !hadHeading) ? endBacktrace(tally) : .nothing
        if isOpen { isInterrupted = true }
        pending.append(line)
        // A log without backtraces has nothing to wait for.
        if pending.count > 64 { pending.removeFirst(32) }
        return outcome
    }

    /// A line that begins a backtrace: `CPU: …`, or the heading over the frames.
    mutating func beginBacktrace(isHeading: Bool, at offset: UInt64, _ tally: Tally) -> Outcome {
        var outcome = Outcome.nothing
        if isOpen && !stack.isEmpty { outcome = endBacktrace(tally) }
        // The heading after "CPU:" belongs to it; a second one with no frame between belongs to somebody else.
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

    /// Takes a frame's line; nil where the line is none.
    mutating func take(_ text: LogText, _ start: Int, _ end: Int, at offset: UInt64, _ tally: Tally) -> Outcome? {
        // arm's oldest kernels have no heading over the frames.
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
        // What x86 marks "?" may be any word of the stack: it tells nothing of order.
        guard !isAlone, let frame = stack.lastReliable else { return outcome }
        let traits = tally.traits(of: frame)
        if traits.contains(.isRoot) {
            // One backtrace has each outermost function once.
            if !roots.insert(tally.frames[Int(frame)].name).inserted { isMixed = true }
            hasRoot = true
        } else if hasRoot && traits.contains(.isNamed) && !traits.contains(.isOuter) {
            isMixed = true
        }
        return outcome
    }

    /// Ends what is open, and hands out the groups that are left.
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
            // As many lines lose theirs as there are headings: two at least.
            tally.notes.add(.mixedStacks, at: offset)
            let lost = Set(owners.prefix(2).map(\.serial))
            pending.removeAll { lost.contains($0.serial) }
            return .nothing
        }
        let row = tally.row(frames)
        // All are frees: whichever it is, nothing is reported.
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

    /// Whether a backtrace is of an allocation, by the allocator's own functions at its inner end; nil
    /// where none of them is there.
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
    /// True while all frames so far are of the printing and the debugging that begin a backtrace.
    func isInAllocator(_ tally: Tally) -> Bool { frames(tally).allSatisfy { tally.traits(of: $0).contains(.prints) } }
}
