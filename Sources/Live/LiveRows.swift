// The rows of the live table: stacks or groups of stacks, with what they hold and how it changes, sorted.

import HeapImage
import Reduce
import Report

/// What a row of the live table stands for.
package enum LiveGrouping: String, CaseIterable, Sendable {
    case stack, function, module, tag

    var grouping: Grouping {
        switch self {
        case .stack: .stack
        case .function: .function
        case .module: .module
        case .tag: .tag
        }
    }
}

/// The orders of rows, largest first.
package enum LiveSort: String, CaseIterable, Sendable {
    case live, blocks, growth, minute, rate

    /// The column's heading.
    package var title: String {
        switch self {
        case .live: "LIVE"
        case .blocks: "BLOCKS"
        case .growth: "GROWTH"
        case .minute: "MINUTE"
        case .rate: "ALLOC/s"
        }
    }
}

/// One row.
package struct LiveRow: Equatable, Sendable {
    /// The number of the stack or the group.
    package var group: Int
    package var counts = LiveHeap.Counts()
    /// Bytes gained since the baseline, and over the last minute.
    package var growth: Int64 = 0
    package var minute: Int64 = 0
    /// Bytes and calls allocated per second, since the previous look.
    package var byteRate = 0.0
    package var callRate = 0.0
    /// The row's stack that holds the most.
    package var stack = 0

    func key(_ sort: LiveSort) -> Double {
        switch sort {
        case .live: Double(counts.bytes)
        case .blocks: Double(counts.blocks)
        case .growth: Double(growth)
        case .minute: Double(minute)
        case .rate: byteRate
        }
    }
}

/// Makes rows from looks at a heap. Each stack's group is found once.
package struct LiveRows {
    package private(set) var heap: LiveHeap
    package var grouping = LiveGrouping.stack {
        didSet { if grouping != oldValue { (groups, labels, groupOfLabel) = ([], [], [:]) } }
    }
    /// Which stacks are shown; nil: all.
    package var filter: FrameFilter? {
        didSet { passes = [] }
    }
    package private(set) var history = History()
    package private(set) var rows: [LiveRow] = []
    /// The sums over all stacks that pass the filter, including stacks without a row because they are empty and idle.
    package private(set) var passing = LiveHeap.Counts()
    package private(set) var byteRate = 0.0
    package private(set) var callRate = 0.0
    package private(set) var seconds = 0.0

    private var groups: [Int] = []
    private var labels: [String] = []
    private var groupOfLabel: [String: Int] = [:]
    private var passes: [Bool] = []
    private var before: [LiveHeap.Counts] = []
    private var rateOfStack: [(bytes: UInt64, calls: UInt64)] = []
    private var interval = 0.0

    package init(_ heap: LiveHeap) { self.heap = heap }

    /// Looks at the program again.
    ///
    /// - Parameter seconds: of a monotonic clock.
    package mutating func look(at seconds: Double) throws {
        before = heap.stacks
        try heap.look()
        interval = before.isEmpty ? 0 : seconds - self.seconds
        self.seconds = seconds
        history.add(heap.stacks, at: seconds)
        var sum: (bytes: UInt64, calls: UInt64) = (0, 0)
        for (stack, counts) in heap.stacks.enumerated() {
            let earlier = stack < before.count ? before[stack] : LiveHeap.Counts()
            sum.bytes &+= counts.allocatedBytes &- earlier.allocatedBytes
            sum.calls &+= counts.allocatedBlocks &- earlier.allocatedBlocks
        }
        byteRate = rate(sum.bytes)
        callRate = rate(sum.calls)
    }

    /// Growth counts from now on.
    package mutating func setBaseline() { history.setBaseline(heap.stacks, at: seconds) }

    private func rate(_ amount: UInt64) -> Double {
        // A counter may go down a little when the live map corrects it.
        interval > 0 && Int64(bitPattern: amount) > 0 ? Double(amount) / interval : 0
    }

    /// Makes the rows, in order.
    ///
    /// - Complexity: O(stacks log stacks). Rows of functions or modules also need the names of new stacks.
    package mutating func order(by sort: LiveSort) {
        placeStacks()
        var byGroup = grouping == .stack ? [] : [LiveRow?](repeating: nil, count: labels.count)
        var made: [LiveRow] = []
        passing = LiveHeap.Counts()
        for stack in heap.stacks.indices.dropFirst() {
            if !passes.isEmpty && !passes[stack] { continue }
            let counts = heap.stacks[stack]
            let earlier = stack < before.count ? before[stack] : LiveHeap.Counts()
            let allocated = counts.allocatedBytes &- earlier.allocatedBytes
            passing += counts
            if counts.blocks == 0 && allocated == 0 && history.atBaseline(stack) == 0 { continue }
            var row = LiveRow(group: stack)
            row.counts = counts
            row.growth = Int64(bitPattern: counts.bytes &- history.atBaseline(stack))
            row.minute = Int64(bitPattern: counts.bytes &- history.aMinuteAgo(stack))
            row.byteRate = rate(allocated)
            row.callRate = rate(counts.allocatedBlocks &- earlier.allocatedBlocks)
            row.stack = stack
            if grouping == .stack {
                made.append(row)
                continue
            }
            let group = groups[stack]
            row.group = group
            guard var sum = byGroup[group] else {
                byGroup[group] = row
                continue
            }
            if counts.bytes > heap.stacks[sum.stack].bytes { sum.stack = stack }
            sum.counts += counts
            sum.growth &+= row.growth
            sum.minute &+= row.minute
            sum.byteRate += row.byteRate
            sum.callRate += row.callRate
            byGroup[group] = sum
        }
        if grouping != .stack { made = byGroup.compactMap { $0 } }
        rows = largestFirst(made, by: { $0.key(sort) }, bytes: \.counts.bytes)
    }

    /// Finds the group of each new stack, and whether the filter shows it.
    private mutating func placeStacks() {
        if let filter, passes.count < heap.stacks.count {
            let fresh = Array(heap.nodes[passes.count...])
            passes += filter.passes(fresh, of: heap.reduction, names: heap.names)
        }
        guard grouping != .stack, groups.count < heap.stacks.count else { return }
        let fresh = heap.nodes[groups.count...].map { Row(node: $0) }
        for key in heap.names.keys(of: fresh, grouping.grouping) {
            if let known = groupOfLabel[key.text] {
                groups.append(known)
            } else {
                groupOfLabel[key.text] = labels.count
                groups.append(labels.count)
                labels.append(key.label)
            }
        }
    }

    /// A row's name; for a stack, the allocating function and its callers.
    package func label(_ row: LiveRow) -> String {
        if grouping != .stack { return row.group < labels.count ? labels[row.group] : "" }
        var texts: [String] = []
        for frame in heap.reduction.frames(of: Row(node: heap.nodes[row.stack])).prefix(16) {
            for entry in heap.names.expanded(frame) where !heap.names.standsBetween(entry) && texts.count < 4 {
                if entry.isStartup && !texts.isEmpty { continue }
                texts.append(entry.function ?? entry.text)
            }
        }
        return texts.isEmpty ? "no frames" : texts.joined(separator: " ← ")
    }

    /// What the rows held over the last minute, oldest first.
    package func curves(of shown: ArraySlice<LiveRow>) -> [[UInt64]] {
        let places = Dictionary(
            shown.enumerated().map { ($1.group, $0) }, uniquingKeysWith: { first, _ in first })
        return history.curves(of: places, group: grouping == .stack ? Array(heap.stacks.indices) : groups)
    }

    /// The whole stack of a row; for a group, the stack that holds the most.
    package func frames(_ row: LiveRow) -> [NamedFrame] {
        heap.names.expanded(heap.reduction.frames(of: Row(node: heap.nodes[row.stack])), limit: nil).entries
    }
}
