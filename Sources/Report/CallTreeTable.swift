// The tree of calls as text. Numbers are in columns at the left, as in the table, so that they can be compared down the
// page. A chain of single calls is not indented, because a deep stack would run off the right side.

import HeapImage
import Reduce
import Text

/// Writes a reduction as a tree of calls.
package struct CallTreeTable {
    package var table: Table
    package var direction: CallTreeDirection
    package var limits: CallTreeLimits
    package var byBlocks: Bool

    package init(table: Table, direction: CallTreeDirection, limits: CallTreeLimits, byBlocks: Bool) {
        (self.table, self.direction, self.limits, self.byBlocks) = (table, direction, limits, byBlocks)
    }

    /// The maximum indentation, in steps.
    private static let mostSteps = 40

    private struct Counts {
        var bytes: UInt64, blocks: UInt64, unknown: UInt64

        var bytesText: String { Table.bytes(bytes, unknown: unknown, of: blocks) }
    }

    /// An item that is still to be written, with its place.
    private struct Pending {
        enum Item {
            case call(Int)
            case note(Counts, text: String)
        }
        var item: Item
        /// The text before its first line, and before its further lines.
        var first = "", rest = ""
        var steps = 0
    }

    package func write(_ reduction: Reduction, _ selection: RowSelection, names: FrameNames, to out: TextOutput) throws
    {
        try table.writeHead(reduction, selection, to: out)
        let tree = CallTree(selection.rows, names: names, direction: direction, byBlocks: byBlocks)
        let shown = tree.shown(limits, byBlocks: byBlocks)
        let root = tree.nodes[0]
        if root.children.isEmpty {
            try out.write("\nNo stack passes the filters, or none has frames.\n")
        } else {
            let whole = selection.blocks.moment == .peak ? reduction.totals.peakBytes ?? 0 : reduction.totals.liveBytes
            try writeLines(tree, shown, whole: whole, to: out)
            try out.write("\n")
        }
        try table.writeFoot(reduction, selection, names, to: out)
    }

    private func writeLines(_ tree: CallTree, _ shown: [Bool], whole: UInt64, to out: TextOutput) throws {
        let style = table.style
        let longest =
            tree.nodes.map { Table.bytes($0.bytes, unknown: $0.blocksOfUnknownSize, of: $0.blocks).count }.max() ?? 0
        let widths = [max(5, longest), 6, max(6, separated(tree.nodes[0].blocks).count)]
        let titles = zip(["bytes", "share", "blocks"], widths).map { leftPadded($0, $1) }.joined(separator: "   ")
        let what =
            direction == .topDown ? "calls, from the outermost inward" : "calls, from the allocating function outward"
        try out.write("\n" + style.dim(titles + "   " + what) + "\n")
        let room = style.width.map { max(24, $0 - widths.reduce(9, +)) }
        func write(_ counts: Counts, _ prefix: String, _ name: String, _ place: String, isDim: Bool) throws {
            var (name, place) = (name, place)
            if let room {
                let rest = max(16, room - prefix.count)
                place = shortened(place, min(24, rest / 3))
                name = shortened(name, place.isEmpty ? rest : rest - place.count - 2)
            }
            let numbers = [
                style.bold(leftPadded(counts.bytesText, widths[0])),
                leftPadded(counts.unknown > 0 ? "-" : Table.share(counts.bytes, of: whole), widths[1]),
                leftPadded(separated(counts.blocks), widths[2]),
            ]
            let text = place.isEmpty ? name : isDim ? "\(name)  \(place)" : name + "  " + style.dim(place)
            try out.write(
                numbers.joined(separator: "   ") + "   " + style.dim(prefix) + (isDim ? style.dim(text) : text) + "\n")
        }

        var pending = [Pending(item: .call(0))]
        while let next = pending.popLast() {
            guard case .call(var node) = next.item else {
                if case .note(let counts, let text) = next.item { try write(counts, next.first, text, "", isDim: true) }
                continue
            }
            var prefix = next.first
            var below: [Pending.Item]
            // Follows a chain of single calls.
            while true {
                if node != 0 {
                    let call = tree.nodes[node]
                    try write(
                        Counts(bytes: call.bytes, blocks: call.blocks, unknown: call.blocksOfUnknownSize), prefix,
                        call.name, call.place, isDim: call.isDim)
                    prefix = next.rest
                }
                below = items(of: node, tree, shown)
                guard node != 0, below.count == 1, case .call(let only) = below[0] else { break }
                node = only
            }
            let branches = node != 0 && next.steps < Self.mostSteps
            for (index, item) in below.enumerated().reversed() {
                let isLast = index == below.count - 1
                pending.append(
                    Pending(
                        item: item, first: next.rest + (branches ? isLast ? "└─ " : "├─ " : ""),
                        rest: next.rest + (branches ? isLast ? "   " : "│  " : ""),
                        steps: next.steps + (branches ? 1 : 0)))
            }
        }
    }

    /// The items below a call: its calls, its own bytes, and the sum of the calls that are too small.
    private func items(of node: Int, _ tree: CallTree, _ shown: [Bool]) -> [Pending.Item] {
        let call = tree.nodes[node]
        if call.children.isEmpty { return [] }
        var items = call.children.filter { shown[$0] }.map { Pending.Item.call($0) }
        if call.ownBlocks > 0 {
            let text = node == 0 ? "(no frames)" : direction == .topDown ? "(itself)" : "(outermost)"
            items.append(
                .note(
                    Counts(bytes: call.ownBytes, blocks: call.ownBlocks, unknown: call.ownBlocksOfUnknownSize),
                    text: text))
        }
        let hidden = call.children.filter { !shown[$0] }
        if !hidden.isEmpty {
            let noun = direction == .topDown ? "smaller call" : "smaller caller"
            func sum(_ count: KeyPath<CallTree.Node, UInt64>) -> UInt64 {
                hidden.reduce(0) { $0 &+ tree.nodes[$1][keyPath: count] }
            }
            items.append(
                .note(
                    Counts(bytes: sum(\.bytes), blocks: sum(\.blocks), unknown: sum(\.blocksOfUnknownSize)),
                    text: "… \(counted(UInt64(hidden.count), noun))"))
        }
        return items
    }
}
