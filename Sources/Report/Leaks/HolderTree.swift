// Who holds the reachable blocks: a tree from the roots. A line stands for a root, or for all blocks of one stack below
// one line. Its bytes are what would be freed if it went.

import HeapImage
import Leaks
import Reduce
import Text

/// A line of the tree.
package struct HolderLine {
    package var text: String
    /// More than one root holds it: it is freed only if all of them go.
    package var isSharedByRoots: Bool
    package var depth: Int
    /// The blocks that the line stands for; none for a root.
    package var own: Amount
    /// The line's own blocks and all that goes with them.
    package var kept: Amount
    /// For blocks, the number of their stack in the image.
    var stack: UInt32?
}

/// The tree of holders, without lines of small shares.
package struct HolderTree {
    package private(set) var lines: [HolderLine] = []
    /// The sum of all reachable blocks.
    package private(set) var total: Amount

    /// - Parameter leastShare: lines that keep less than this part of all reachable bytes are left out.
    package init(_ report: LeakReport, leastShare: Double = 0.01, depth: Int = 8) {
        total = report.verdict.totals[.reachable] ?? Amount()
        let holders = Holders(report.verdict) { report.text(ofRoot: $0, whole: false) }
        var maker = HolderTreeMaker(
            holders: holders, report: report, leastBytes: UInt64(Double(total.bytes) * leastShare), depthLimit: depth)
        maker.add([0], depth: 0)
        lines = maker.lines
    }

    init(lines: [HolderLine], total: Amount) { (self.lines, self.total) = (lines, total) }
}

/// Makes the lines of a tree.
private struct HolderTreeMaker {
    var lines: [HolderLine] = []
    let holders: Holders
    let report: LeakReport
    let leastBytes: UInt64
    let depthLimit: Int

    // Groups the nodes directly below some nodes by name. A list or tree of blocks of one stack becomes one line, and
    // what else these blocks hold is below it.
    mutating func add(_ nodes: [Int], depth: Int) {
        guard depth < depthLimit else { return }
        struct Group {
            var nodes: [Int] = [], own = Amount(), kept = Amount(), text = "", stack: UInt32?
            var imageStack: UInt32?
        }
        var groups: [Group] = [], ofRoot: [Int: Int] = [:], ofStack: [UInt32: Int] = [:]
        for node in nodes {
            for child in holders.children(of: node) {
                let child = Int(child), place: Int
                switch holders.holder(child) {
                case .root(let root):
                    place = ofRoot[root] ?? groups.count
                    if place == groups.count {
                        ofRoot[root] = place
                        groups.append(Group(text: holders.roots[root]))
                    }
                case .block(let block):
                    let stack = report.node(of: block)
                    // Blocks of the same stack belong to the line above.
                    if let own = stackOf(node), own == stack { continue }
                    place = ofStack[stack] ?? groups.count
                    if place == groups.count {
                        ofStack[stack] = place
                        groups.append(
                            Group(
                                text: report.shortStack(stack), stack: stack,
                                imageStack: report.verdict.table.stack(block)))
                    }
                case nil: continue
                }
                groups[place].nodes.append(child)
                groups[place].kept.add(holders.amount(child))
            }
        }
        for group in groups.sorted(by: { ($0.kept.bytes, $1.text) > ($1.kept.bytes, $0.text) })
        where group.kept.bytes >= max(leastBytes, 1) {
            var group = group
            if let stack = group.stack {
                var next = 0
                while next < group.nodes.count {
                    if case .block(let block) = holders.holder(group.nodes[next]) {
                        group.own.add(Amount(blocks: 1, bytes: report.verdict.table.bytes(block)))
                    }
                    for child in holders.children(of: group.nodes[next]) where stackOf(Int(child)) == stack {
                        group.nodes.append(Int(child))
                    }
                    next += 1
                }
            }
            lines.append(
                HolderLine(
                    text: group.text, isSharedByRoots: depth == 0 && group.stack != nil, depth: depth, own: group.own,
                    kept: group.kept, stack: group.imageStack))
            add(group.nodes, depth: depth + 1)
        }
    }

    private func stackOf(_ node: Int) -> UInt32? {
        if case .block(let block) = holders.holder(node) { return report.node(of: block) }
        return nil
    }
}

extension LeakTable {
    /// Writes the tree.
    package func writeHolders(_ tree: HolderTree, to out: TextOutput) throws {
        if tree.total.bytes == 0 { return }
        if tree.lines.isEmpty { return try out.write("\nno holder keeps as much as 1% of the reachable bytes\n") }
        try out.write("\n" + style.dim("what each holder keeps: bytes that would go with it") + "\n")
        let bytes = tree.lines.map { separated($0.kept.bytes) }
        let width = max(5, bytes.map(\.count).max() ?? 0)
        try out.write(style.dim("\(leftPadded("bytes", width))    share   blocks") + "\n")
        let blockWidth = max(6, tree.lines.map { separated($0.kept.blocks).count }.max() ?? 0)
        for (line, bytes) in zip(tree.lines, bytes) {
            let indent = String(repeating: "  ", count: line.depth)
            let of = line.text == LeakReport.earlierText ? "" : "of "
            let own = line.own.blocks > 0 ? "\(counted(line.own.blocks, "block")) \(of)" : ""
            try out.write(
                "\(style.bold(leftPadded(bytes, width)))   "
                    + "\(leftPadded(Table.share(line.kept.bytes, of: tree.total.bytes), 6))   "
                    + "\(leftPadded(separated(line.kept.blocks), blockWidth))   "
                    + "\(indent)\(line.isSharedByRoots ? "several roots → " : "")\(own)\(line.text)\n"
            )
        }
    }
}
