// Which stacks a packed image keeps, their numbers, and the section for their levels and lifetimes.
//
// Invariant: a stack that is left out held nothing at the end, at the peak and at every snapshot, and allocated little.
// The counters of all of them are in one row, so no sum over the rows changes. A stack with a live block is never left
// out.

import CHeapImage

/// Which stacks and nodes of an image are in its packed copy, and their numbers there.
struct PackedStacks {
    /// With fewer stacks than this, none is left out.
    static let fewest = 10_000
    /// A stack with at least 1/share of all allocations or bytes stays.
    static let share: UInt64 = 10_000

    /// The new number of each stack; nil: all keep theirs. A stack that was left out has the number of their common
    /// row.
    private(set) var numbers: [UInt32]?
    /// Whether each node stays; empty if all do.
    private(set) var keptNodes: [Bool] = []
    private(set) var nodeNumbers: [UInt32] = []
    /// The number of the common row; nil: no stack was left out.
    private(set) var goneNumber: UInt32?
    /// The sum of what was left out, as one stack.
    private(set) var gone = StackCounts()
    private(set) var goneLifetimes = [UInt64](repeating: 0, count: LifetimeClass.count)
    private(set) var goneCount: UInt64 = 0
    /// The common row's node and frame.
    private(set) var goneNode: UInt32 = 0
    static let goneFrame = heap_frame_make(UInt32(HEAP_MODULE_CUT), UInt64(HEAP_CUT_GONE.rawValue))

    /// All stay and keep their numbers.
    init() {}

    /// - Complexity: O(stacks + nodes)
    init(_ image: HeapImage, _ census: Census, snapshots: Int) {
        let blocks = census.stacks.reduce(0 as UInt64) { $0 &+ $1.allocatedBlocks } / Self.share
        let bytes = census.stacks.reduce(0 as UInt64) { $0 &+ $1.allocatedBytes } / Self.share
        var leftOut = [Bool](repeating: false, count: census.stacks.count)
        var count = 0
        var lifetimes = goneLifetimes
        image.forEachStack { number, stack in
            guard number > 1 && number < leftOut.count else { return }
            let counts = census.stacks[number]
            guard counts.liveBlocks == 0 && counts.held == Level() && counts.peak == Level(),
                counts.allocatedBlocks <= blocks,
                counts.allocatedBytes <= bytes, !(0 ..< snapshots).contains(where: { stack.level($0) != Level() })
            else { return }
            leftOut[number] = true
            count += 1
            for lifetime in 1 ..< LifetimeClass.count { lifetimes[lifetime] &+= stack.blocks(ofLifetime: lifetime) }
        }
        guard count >= Self.fewest else { return }
        for free in census.replayedFrees where Int(free.stack) < leftOut.count && leftOut[Int(free.stack)] {
            lifetimes[Int(heap_lifetime_of_milliseconds(free.milliseconds))] &+= free.blocks
        }
        goneLifetimes = lifetimes
        goneCount = UInt64(count)
        numberStacks(leftOut, census)
        numberNodes(image.nodes(), leftOut, census)
    }

    private mutating func numberStacks(_ leftOut: [Bool], _ census: Census) {
        var numbers = [UInt32](repeating: 0, count: leftOut.count)
        var next: UInt32 = 0
        for number in leftOut.indices where !leftOut[number] {
            numbers[number] = next
            next += 1
        }
        for number in leftOut.indices where leftOut[number] {
            numbers[number] = next
            let counts = census.stacks[number]
            gone.allocatedBlocks &+= counts.allocatedBlocks
            gone.allocatedBytes &+= counts.allocatedBytes
            gone.freedBlocks &+= counts.freedBlocks
            gone.freedBytes &+= counts.freedBytes
            gone.temporaryBlocks &+= counts.temporaryBlocks
        }
        self.numbers = numbers
        goneNumber = next
    }

    private mutating func numberNodes(_ tree: NodeTree, _ leftOut: [Bool], _ census: Census) {
        keptNodes = [Bool](repeating: false, count: tree.count)
        for number in leftOut.indices where !leftOut[number] && Int(census.stacks[number].node) < tree.count {
            keptNodes[Int(census.stacks[number].node)] = true
        }
        if tree.count > 0 { keptNodes[0] = true }
        for node in keptNodes.indices.reversed() where keptNodes[node] { keptNodes[tree.parent(of: node)] = true }
        nodeNumbers = [UInt32](repeating: 0, count: tree.count)
        for node in keptNodes.indices where keptNodes[node] {
            nodeNumbers[node] = goneNode
            goneNode += 1
        }
    }

    /// A stack's number in the copy.
    func number(of stack: UInt32) -> UInt32 {
        guard let numbers else { return stack }
        return Int(stack) < numbers.count ? numbers[Int(stack)] : UInt32(1)
    }

    /// A node's number in the copy; 0 if it was left out.
    func nodeNumber(of node: UInt32) -> UInt32 {
        guard numbers != nil else { return node }
        return Int(node) < nodeNumbers.count ? nodeNumbers[Int(node)] : 0
    }

    /// A slot's word with its stack's number in the copy.
    func slot(_ word: UInt64) -> UInt64 {
        guard numbers != nil, heap_slot_stack(word) != 0 else { return word }
        let rest = word & ((1 << UInt64(HEAP_SLOT_STACK_SHIFT)) - 1)
        return UInt64(number(of: heap_slot_stack(word))) << UInt64(HEAP_SLOT_STACK_SHIFT) | rest
    }
}

/// Section DETAILS, for writing.
struct PackedDetails {
    private(set) var entries: [heap_detail] = [heap_detail()]

    /// Gives a stack its levels and lifetimes. `levels` are its snapshots.
    mutating func add(to stack: inout heap_stack, peak: Level, levels: [Level], lifetimes: [UInt64]) {
        let classes = lifetimes.indices.dropFirst().filter { lifetimes[$0] > 0 }
        let isOne = classes.count == 1 && lifetimes[classes[0]] <= UInt64(HEAP_LIFETIME_WORD_MOST)
        if isOne { stack.lifetime = heap_lifetime_word(UInt32(classes[0]), UInt32(lifetimes[classes[0]])) }
        let needsLifetimes = !classes.isEmpty && !isOne
        guard needsLifetimes || peak != Level() || levels.contains(where: { $0 != Level() }) else { return }
        let place = entries.count
        stack.detail = UInt32(clamping: place)
        entries.append(
            heap_detail(snapshots: 0, lifetimes: 0, peak: heap_level(bytes: peak.bytes, blocks: peak.blocks)))
        if needsLifetimes {
            entries[place].lifetimes = UInt32(clamping: entries.count)
            for entry in 0 ..< Int(HEAP_LIFETIME_ENTRIES) {
                let words = lifetimes[entry * 3 ..< entry * 3 + 3].map(\.self)
                entries.append(
                    heap_detail(
                        snapshots: UInt32(truncatingIfNeeded: words[0]),
                        lifetimes: UInt32(truncatingIfNeeded: words[0] >> 32),
                        peak: heap_level(bytes: words[1], blocks: words[2])))
            }
        }
        var last = Level()
        for (number, level) in levels.enumerated() where level != last {
            let snapshot = heap_snapshot(
                next: entries[place].snapshots, number: UInt32(number),
                held: heap_level(bytes: level.bytes, blocks: level.blocks))
            entries[place].snapshots = UInt32(clamping: entries.count)
            entries.append(unsafeBitCast(snapshot, to: heap_detail.self))
            last = level
        }
    }
}
