// Compares two verdicts on one heap: what became unreachable between them, and which holders keep more than before.
// Lost blocks stay lost because nobody can free them, so their growth is what was lost in between. A holder that keeps
// more is the other kind of leak, in which each block can be reached: a cache that nobody empties.

import HeapImage
import Leaks
import Reduce
import Text

/// A line of the tree of holders, at two moments.
package struct HolderGrowth: Equatable {
    package var text: String
    package var depth: Int
    package var isSharedByRoots: Bool
    package var before: Amount
    package var now: Amount
    package var growthBytes: Int64 { Int64(from: before.bytes, to: now.bytes) }
    package var growthBlocks: Int64 { Int64(from: before.blocks, to: now.blocks) }
}

/// The verdicts of the first and the last of several moments.
package struct GrowthVerdicts {
    /// For each node's blocks.
    package var before: [UInt32: RowVerdict]
    package var now: [UInt32: RowVerdict]
    package var totalBefore: RowVerdict
    package var totalNow: RowVerdict
    /// Stacks with more lost than before, most bytes first.
    package var lost: [(node: UInt32, more: Amount)] = []
    /// Holders that keep more than before, each after the one that holds it, largest growth first.
    package var holders: [HolderGrowth] = []

    /// - Returns: nil if an input of the first or the last moment has no verdict.
    package init?(_ growth: Growth, names: FrameNames) {
        guard growth.moments.count > 1, let first = growth.moments.first, let last = growth.moments.last,
            let before = Self.verdicts(first, growth.reduction), let now = Self.verdicts(last, growth.reduction)
        else { return nil }
        (self.before, self.now) = (before, now)
        func total(_ verdicts: [UInt32: RowVerdict]) -> RowVerdict {
            verdicts.values.reduce(into: RowVerdict()) { $0.add($1) }
        }
        (totalBefore, totalNow) = (total(before), total(now))
        for (node, said) in now {
            let more = said.sum(Verdict.lost), less = before[node]?.sum(Verdict.lost) ?? Amount()
            if more.blocks > less.blocks {
                lost.append(
                    (node, Amount(blocks: more.blocks - less.blocks, bytes: more.bytes - min(less.bytes, more.bytes))))
            }
        }
        lost.sort { ($0.more.bytes, $1.node) > ($1.more.bytes, $0.node) }
        holders = Self.grown(
            Self.tree(first, growth.reduction, names), Self.tree(last, growth.reduction, names))
    }

    private static func verdicts(_ moment: GrowthMoment, _ reduction: Reduction) -> [UInt32: RowVerdict]? {
        guard !moment.inputs.isEmpty, moment.inputs.allSatisfy({ reduction.inputs[$0].verdict != nil }) else {
            return nil
        }
        return moment.inputs.reduce(into: [:]) { result, input in
            for (node, said) in reduction.verdicts(ofInput: input) { result[node, default: RowVerdict()].add(said) }
        }
    }

    // For a single process only: holders of several processes are unrelated.
    private static func tree(_ moment: GrowthMoment, _ reduction: Reduction, _ names: FrameNames) -> [HolderLine] {
        guard moment.inputs.count == 1, let input = moment.inputs.first else { return [] }
        return HolderTree(reduction, input: input, names: names)?.lines ?? []
    }

    // A line is recognized by its name and the names above it. Lines with the same names are merged.
    private static func grown(_ before: [HolderLine], _ now: [HolderLine]) -> [HolderGrowth] {
        final class Node {
            var line: HolderGrowth
            var children: [Node] = []
            var placeOfName: [String: Int] = [:]
            init(_ line: HolderGrowth) { self.line = line }
        }
        let origin = Node(HolderGrowth(text: "", depth: -1, isSharedByRoots: false, before: Amount(), now: Amount()))
        func add(_ lines: [HolderLine], to moment: WritableKeyPath<HolderGrowth, Amount>) {
            var above = [origin]
            for line in lines where line.depth < above.count {
                above.removeLast(above.count - line.depth - 1)
                let holder = above[line.depth], name = (line.isSharedByRoots ? "1" : "0") + line.text
                let place = holder.placeOfName[name] ?? holder.children.count
                if place == holder.children.count {
                    holder.placeOfName[name] = place
                    holder.children.append(
                        Node(
                            HolderGrowth(
                                text: line.text, depth: line.depth, isSharedByRoots: line.isSharedByRoots,
                                before: Amount(), now: Amount())))
                }
                holder.children[place].line[keyPath: moment].add(line.kept)
                above.append(holder.children[place])
            }
        }
        add(before, to: \.before)
        add(now, to: \.now)
        // Compared with the largest, a small growth is no cause.
        let most = origin.children.map(\.line.growthBytes).max() ?? 0
        var result: [HolderGrowth] = []
        func take(_ node: Node) {
            let grown = node.children.filter { $0.line.growthBytes > 0 && $0.line.growthBytes >= most / 50 }
            for child in grown.sorted(by: { ($0.line.growthBytes, $1.line.text) > ($1.line.growthBytes, $0.line.text) })
            {
                result.append(child.line)
                take(child)
            }
        }
        take(origin)
        return result
    }
}

extension GrowthTable {
    /// How much of each moment is lost.
    func writeLost(_ verdicts: GrowthVerdicts, to out: TextOutput) throws {
        let before = verdicts.totalBefore.sum(Verdict.lost), now = verdicts.totalNow.sum(Verdict.lost)
        let grown = Int64(from: before.bytes, to: now.bytes)
        try out.write(
            "lost    \(separated(before.bytes)) → \(separated(now.bytes))  \(style.bold(signed(grown)))  "
                + "(bytes; \(signed(Int64(from: before.blocks, to: now.blocks))) blocks)\n")
    }

    /// What became unreachable, and which holders grew.
    func writeVerdicts(_ verdicts: GrowthVerdicts, names: FrameNames, to out: TextOutput) throws {
        if !verdicts.lost.isEmpty {
            try out.write("\n" + style.dim("became unreachable between the first and the last moment") + "\n")
            let shown = verdicts.lost.prefix(20)
            let width = shown.map { separated($0.more.bytes).count }.max() ?? 0
            for (node, more) in shown {
                try out.write(
                    "\(style.bold(leftPadded(separated(more.bytes), width))) bytes in "
                        + "\(counted(more.blocks, "block")) of \(names.shortStack(node))\n")
            }
            if verdicts.lost.count > shown.count { try out.write("and \(verdicts.lost.count - shown.count) more\n") }
        }
        guard !verdicts.holders.isEmpty else { return }
        try out.write("\n" + style.dim("who keeps more than before: bytes that would go with it") + "\n")
        let cells = verdicts.holders.prefix(40).map {
            [signed($0.growthBytes), separated($0.now.bytes), signed($0.growthBlocks)]
        }
        let titles = ["growth", "bytes", "more blocks"]
        let widths = titles.indices.map { column in max(titles[column].count, cells.map { $0[column].count }.max() ?? 0)
        }
        func line(_ texts: [String]) -> String {
            zip(texts, widths).map { leftPadded($0, $1) }.joined(separator: "   ")
        }
        try out.write(style.dim(line(titles)) + "\n")
        for (holder, cell) in zip(verdicts.holders, cells) {
            try out.write(
                "\(line(cell))   \(String(repeating: "  ", count: holder.depth))"
                    + "\(holder.isSharedByRoots ? "several roots → " : "")\(holder.text)\n")
        }
    }
}

extension GrowthVerdicts {
    /// The fields of a diff's JSON.
    func json(_ writer: JSONReport) -> String {
        let before = totalBefore.sum(Verdict.lost), now = totalNow.sum(Verdict.lost)
        let lines = holders.map { line in
            "{\"depth\":\(line.depth),\"holder\":\(jsonString(line.text)),\"severalRoots\":\(line.isSharedByRoots),"
                + "\"keptBytesBefore\":\(line.before.bytes),\"keptBytes\":\(line.now.bytes),"
                + "\"growthBytes\":\(line.growthBytes),\"growthBlocks\":\(line.growthBlocks)}"
        }
        return "\"verdictsBefore\":\(writer.text(totalBefore)),\"verdicts\":\(writer.text(totalNow)),\n"
            + "\"lost\":{\"bytesBefore\":\(before.bytes),\"blocksBefore\":\(before.blocks),\"bytes\":\(now.bytes),"
            + "\"blocks\":\(now.blocks),\"growthBytes\":\(Int64(from: before.bytes, to: now.bytes)),"
            + "\"growthBlocks\":\(Int64(from: before.blocks, to: now.blocks))},\n"
            + "\"holders\":[\(lines.map { "\n " + $0 }.joined(separator: ","))],\n"
    }
}
