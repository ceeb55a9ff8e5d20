// The verdict on each live block: reachable, possibly lost, definitely lost or indirectly lost, in Valgrind's sense.
//
// A breadth-first walk from the roots along pointers to blocks' starts finds the reachable blocks, and the first path
// to each. Blocks that only interior pointers lead to are possibly lost, with all that they hold. Of the rest, each
// block that no other lost block holds is a leader, and definitely lost; the blocks that it holds are indirectly lost.
// The leader of a cycle is its first block.

import HeapImage

/// The verdicts on all live blocks of a snapshot.
package final class LeakVerdict {
    package let snapshot: Snapshot
    let scan: Scan
    package var table: BlockTable { scan.table }
    private let states: UnsafeMutablePointer<UInt8>
    /// The block before this one on the first path; `none`: a root, or no path.
    private let parents: UnsafeMutablePointer<UInt32>
    static let none = UInt32.max
    private var order: [UInt32] = []
    /// For each leader, the sum of the blocks that are indirectly lost through it.
    package private(set) var dragged: [UInt32: Amount] = [:]
    package private(set) var totals: [Verdict: Amount] = [:]
    /// Blocks that unaligned, tagged or mangled pointers saved from being called lost.
    package private(set) var defended = 0
    /// Whether lost blocks are called only possibly lost, because something could not be read.
    package private(set) var isLenient = false

    /// Judges a snapshot.
    ///
    /// - Complexity: O(bytes of blocks and roots), O(blocks + pointers) memory.
    package init(_ snapshot: Snapshot, loaderStacks: Set<UInt32> = [], progress: ((ScanProgress) -> Void)? = nil) {
        self.snapshot = snapshot
        scan = Scan(snapshot, progress: progress)
        let count = scan.table.count
        states = .allocate(capacity: count + 1)
        states.initialize(repeating: 0, count: count + 1)
        parents = .allocate(capacity: count + 1)
        parents.initialize(repeating: Self.none, count: count + 1)
        order.reserveCapacity(count)
        for range in scan.unread.prefix(16) {
            snapshot.shortfalls.append(
                Shortfall(what: "memory from \(hex(range.lowerBound)) to \(hex(range.upperBound)): it can't be read"))
        }
        if scan.unread.count > 16 {
            snapshot.shortfalls.append(Shortfall(what: "\(scan.unread.count - 16) more ranges that can't be read"))
        }
        findReachable(loaderStacks)
        findPossible()
        judgeLost()
        defend()
        isLenient = !snapshot.shortfalls.isEmpty
        if isLenient { forgive() }
        var sums = [Amount](repeating: Amount(), count: 256)
        for number in 0 ..< count {
            sums[Int(states[number])].add(Amount(blocks: 1, bytes: table.bytes(number)))
        }
        for (state, sum) in sums.enumerated() where sum.blocks > 0 {
            totals[Verdict(rawValue: UInt8(state)) ?? .unknown, default: Amount()].add(sum)
        }
    }

    deinit {
        states.deallocate()
        parents.deallocate()
    }

    /// A block's verdict.
    @inline(__always) package func verdict(_ block: Int) -> Verdict { Verdict(rawValue: states[block]) ?? .unknown }

    func parent(of block: Int) -> Int? { parents[block] == Self.none ? nil : Int(parents[block]) }

    // MARK: Reachable

    private func findReachable(_ loaderStacks: Set<UInt32>) {
        var isLoaders = [Bool](repeating: false, count: Int(min(loaderStacks.max() ?? 0, 1 << 26)) + 1)
        for stack in loaderStacks where Int(stack) < isLoaders.count { isLoaders[Int(stack)] = true }
        for block in 0 ..< table.count {
            let reference = scan.referenceOf[block]
            if reference != 0 {
                let best = scan.references[Int(reference) - 1]
                if best.isExact && !scan.roots.roots[Int(best.root)].isWeak { reach(UInt32(block), from: Self.none) }
            }
            // The loader keeps what it allocates, but in ways that no scan sees.
            let stack = Int(table.stack(block))
            if states[block] == 0 && stack < isLoaders.count && isLoaders[stack] {
                reach(UInt32(block), from: Self.none)
            }
        }
        var head = 0
        walkExact(&head)
        // Follow interior pointers that a heuristic explains. Each block found may lead to others.
        while true {
            let before = order.count
            for number in scan.interior {
                let reference = scan.references[Int(number)]
                if states[Int(reference.block)] == 0, !scan.roots.roots[Int(reference.root)].isWeak,
                    scan.isExplained(reference.value, in: Int(reference.block))
                {
                    reach(reference.block, from: Self.none)
                }
            }
            for block in order[..<before] { explainInteriors(of: Int(block)) }
            if order.count == before { break }
            walkExact(&head)
        }
    }

    private func reach(_ block: UInt32, from parent: UInt32) {
        states[Int(block)] = Verdict.reachable.rawValue
        parents[Int(block)] = parent
        order.append(block)
    }

    private func walkExact(_ head: inout Int) {
        // Its own for this time: each access to a class's array is checked.
        var order = self.order
        self.order = []
        let edges = scan.edges, edgeStart = scan.edgeStart
        while head < order.count {
            let block = order[head]
            head += 1
            for index in Int(edgeStart[Int(block)]) ..< Int(edgeStart[Int(block) + 1]) {
                let edge = edges[index]
                guard edge & Scan.interiorEdge == 0 && states[Int(edge)] == 0 else { continue }
                states[Int(edge)] = Verdict.reachable.rawValue
                parents[Int(edge)] = block
                order.append(edge)
            }
        }
        self.order = order
    }

    private func explainInteriors(of block: Int) {
        var isNeeded = false
        for index in Int(scan.edgeStart[block]) ..< Int(scan.edgeStart[block + 1]) {
            let edge = scan.edges[index]
            if edge & Scan.interiorEdge != 0 && states[Int(edge & ~Scan.interiorEdge)] == 0 { isNeeded = true }
        }
        guard isNeeded else { return }
        for word in scan.words(of: block) where table.mayPoint(word) {
            if let hit = table.hit(word), !hit.isExact, states[Int(hit.block)] == 0,
                scan.isExplained(word, in: Int(hit.block))
            {
                reach(hit.block, from: UInt32(block))
            }
        }
    }

    // MARK: Possible

    private func findPossible() {
        var queue: [UInt32] = []
        for reference in scan.references where states[Int(reference.block)] == 0 {
            suspect(reference.block, from: Self.none, &queue)
        }
        for block in order {
            for index in Int(scan.edgeStart[Int(block)]) ..< Int(scan.edgeStart[Int(block) + 1]) {
                let target = scan.edges[index] & ~Scan.interiorEdge
                if states[Int(target)] == 0 { suspect(target, from: block, &queue) }
            }
        }
        walkPossible(&queue)
    }

    private func suspect(_ block: UInt32, from parent: UInt32, _ queue: inout [UInt32]) {
        states[Int(block)] = Verdict.possible.rawValue
        parents[Int(block)] = parent
        queue.append(block)
    }

    private func walkPossible(_ queue: inout [UInt32]) {
        var head = 0
        while head < queue.count {
            let block = queue[head]
            head += 1
            for index in Int(scan.edgeStart[Int(block)]) ..< Int(scan.edgeStart[Int(block) + 1]) {
                let target = scan.edges[index] & ~Scan.interiorEdge
                if states[Int(target)] == 0 { suspect(target, from: block, &queue) }
            }
        }
    }

    // MARK: Lost

    private func judgeLost() {
        dragged = [:]
        var stack: [UInt32] = []
        for block in 0 ..< table.count where states[block] == 0 {
            states[block] = Verdict.definite.rawValue
            var amount = Amount()
            stack.append(UInt32(block))
            while let next = stack.popLast() {
                for index in Int(scan.edgeStart[Int(next)]) ..< Int(scan.edgeStart[Int(next) + 1]) {
                    let target = Int(scan.edges[index] & ~Scan.interiorEdge)
                    if target == block { continue }
                    if states[target] == 0 {
                        states[target] = Verdict.indirect.rawValue
                        amount.add(Amount(blocks: 1, bytes: table.bytes(target)))
                        stack.append(UInt32(target))
                    } else if states[target] == Verdict.definite.rawValue {
                        // An earlier leader turns out to be held by this lost block: its clique joins this one.
                        states[target] = Verdict.indirect.rawValue
                        amount.add(Amount(blocks: 1, bytes: table.bytes(target)))
                        if let own = dragged.removeValue(forKey: UInt32(target)) { amount.add(own) }
                    }
                }
            }
            if amount.blocks > 0 { dragged[UInt32(block)] = amount }
        }
    }

    // MARK: Defence

    /// Looks for disguised pointers to blocks that seem lost. A block with such a pointer is not called lost.
    private func defend() {
        let saved = Defence(scan: scan, states: states).savedBlocks()
        guard !saved.isEmpty else { return }
        defended = saved.count
        for block in 0 ..< table.count where states[block] >= Verdict.definite.rawValue { states[block] = 0 }
        var queue: [UInt32] = []
        for block in saved { suspect(block, from: Self.none, &queue) }
        walkPossible(&queue)
        judgeLost()
    }

    /// If something could not be read, a pointer in it may hold the blocks that seem lost: call them possibly lost.
    private func forgive() {
        for block in 0 ..< table.count where states[block] >= Verdict.definite.rawValue {
            states[block] = Verdict.possible.rawValue
        }
        dragged = [:]
    }
}
