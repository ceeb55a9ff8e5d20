// All that is known about each function of a program that allocated: what it holds, when that was allocated, how it
// grew, what of it is lost, and what it pins. The numbers come from several reductions (the newest image's, the
// moments', the verdict's), which share nothing but names: so a function is known by its name and its module's.

import HeapImage
import Reduce
import Trend

/// One function.
struct Suspect {
    var frame: NamedFrame
    /// Whether it is the program's; else it stands in for a stack without any.
    var isOwn: Bool
    /// The stack that holds the most, in the reduction that named it.
    var node: UInt32
    var culprits: Culprits
    var live = Amount()
    var oldestSeconds: Double?
    var newestSeconds: Double?
    /// nil if it is known from other moments only.
    var history: Row.History?
    var births = Births()
    /// Bytes and blocks at each moment, if there are several.
    var bytes: [UInt64] = []
    var blocks: [UInt64] = []
    var trend: Trend?
    var definite = Amount()
    /// The blocks that are lost through these, whose own functions may be others.
    var dragged = Amount()
    /// Its own blocks that are lost through others.
    var indirect = Amount()
    var possible = Amount()
    /// The lowest address of a lost block.
    var example: UInt64?
    var pinnedBytes: UInt64 = 0
    var aloneBytes: UInt64 = 0

    var growthBytes: Int64 { Int64(from: bytes.first ?? 0, to: bytes.last ?? 0) }
    var growthBlocks: Int64 { Int64(from: blocks.first ?? 0, to: blocks.last ?? 0) }
    /// Whether most of what it holds is lost.
    var isLost: Bool { definite.blocks &+ indirect.blocks > 0 && definite.bytes &+ indirect.bytes >= live.bytes / 2 }
}

/// All functions of one program.
struct Suspects {
    private(set) var all: [Suspect] = []
    private var numbers: [FunctionName: Int] = [:]

    /// - Parameter culprits: of the newest image's reduction.
    /// - Complexity: O(blocks + stacks)
    init(_ culprits: Culprits) {
        let reduction = culprits.names.reduction
        let groups = take(reduction.rows.map(\.node), culprits)
        var largest = [UInt64](repeating: 0, count: all.count)
        for (row, group) in zip(reduction.rows, groups) {
            all[group].live.add(Amount(blocks: row.blocks, bytes: row.bytes))
            if let history = row.history {
                var sum = all[group].history ?? Row.History()
                sum.add(history)
                all[group].history = sum
            }
            if let oldest = row.oldestSeconds, let newest = row.newestSeconds {
                all[group].oldestSeconds = max(all[group].oldestSeconds ?? oldest, oldest)
                all[group].newestSeconds = min(all[group].newestSeconds ?? newest, newest)
            }
            let weight = max(row.bytes, row.history?.peakBytes ?? 0)
            if weight > largest[group] { (largest[group], all[group].node) = (weight, row.node) }
        }
        // The source line is the largest stack's, too.
        for (group, found) in culprits.find(all.map(\.node)).enumerated() {
            if let found { all[group].frame = found.frame }
        }
        for (group, births) in Births.read(reduction, groups: groups, count: all.count).enumerated() {
            all[group].births = births
        }
    }

    /// Adds what the functions held at several moments.
    mutating func add(_ growth: Growth, _ culprits: Culprits) {
        let groups = take(growth.rows.map(\.node), culprits), moments = growth.moments.count
        for index in all.indices {
            (all[index].bytes, all[index].blocks) = (
                Array(repeating: 0, count: moments), Array(repeating: 0, count: moments)
            )
        }
        for (row, group) in zip(growth.rows, groups) {
            for moment in 0 ..< moments {
                all[group].bytes[moment] &+= row.bytes[moment]
                all[group].blocks[moment] &+= row.blocks[moment]
            }
        }
        let seconds = growth.seconds
        for index in all.indices where all[index].growthBytes > 0 {
            let values = all[index].bytes.map { Double($0) }
            all[index].trend = seconds.map { Trend(times: $0, values: values) } ?? Trend(values: values)
        }
    }

    /// Adds what of the functions' blocks is lost.
    mutating func add(_ told: LeakSummary, _ culprits: Culprits) {
        for (row, group) in zip(told.rows, take(told.rows.map(\.node), culprits)) {
            switch row.verdict {
            case .definite:
                all[group].definite.add(row.own)
                all[group].dragged.add(row.dragged)
                all[group].example = min(all[group].example ?? row.example, row.example)
            case .indirect: all[group].indirect.add(row.own)
            case .possible: all[group].possible.add(row.own)
            default: break
            }
        }
    }

    /// Adds what of the allocator's pages the functions' blocks pin.
    mutating func add(_ pages: PagesReport, _ culprits: Culprits) {
        for (row, group) in zip(pages.rows, take(pages.rows.map(\.node), culprits)) {
            all[group].pinnedBytes &+= row.sums.pinned
            all[group].aloneBytes &+= row.sums.alone
        }
    }

    /// The number of one stack's function.
    mutating func number(of node: UInt32, _ culprits: Culprits) -> Int { take([node], culprits)[0] }

    /// The number of each stack's function. What has no frames is one function without a name.
    private mutating func take(_ nodes: [UInt32], _ culprits: Culprits) -> [Int] {
        zip(nodes, culprits.find(nodes)).map { node, found in
            let frame = found?.frame ?? NamedFrame(frame: Frame(module: SpecialModule.cut, offset: 0))
            let name = FunctionName(frame)
            if let number = numbers[name] { return number }
            numbers[name] = all.count
            all.append(Suspect(frame: frame, isOwn: found?.isOwn ?? false, node: node, culprits: culprits))
            return all.count - 1
        }
    }
}
