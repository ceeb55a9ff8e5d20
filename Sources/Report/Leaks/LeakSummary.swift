// The contents of every report on a verdict: sums, rows by stack, what could not be read. It comes from a new verdict,
// or from an image that stores one.

import HeapImage
import Leaks
import Reduce
import Symbols
import Text

/// The blocks of one stack that have one verdict.
package struct LeakRow {
    package var node: UInt32
    package var verdict: Verdict
    package var own = Amount()
    /// For definitely lost blocks, the indirectly lost blocks that they hold. Those have their own rows too.
    package var dragged = Amount()
    /// The first of the blocks, for --why.
    package var example: UInt64 = 0
}

/// A verdict for a report.
package struct LeakSummary {
    package var reduction: Reduction
    package var names: FrameNames
    package var pauseNanoseconds: UInt64 = 0
    package var totals: [Verdict: Amount] = [:]
    /// All rows, the worst verdict first, then the largest.
    package var rows: [LeakRow] = []
    /// What could not be read; then no block is called definite.
    package var notRead: [String] = []
    package var notes: [String] = []
    /// It comes from an image: the memory from which it was made is gone.
    package var isStored = false

    /// Joins rows of the same node and verdict, and sorts them.
    static func ordered(_ rows: [LeakRow]) -> [LeakRow] {
        struct Key: Hashable { var node: UInt32, verdict: Verdict }
        var index: [Key: Int] = [:], result: [LeakRow] = []
        for row in rows {
            let key = Key(node: row.node, verdict: row.verdict)
            if let place = index[key] {
                result[place].own.add(row.own)
                result[place].dragged.add(row.dragged)
                result[place].example = min(result[place].example, row.example)
            } else {
                index[key] = result.count
                result.append(row)
            }
        }
        let rank = Dictionary(uniqueKeysWithValues: Verdict.shown.enumerated().map { ($1, $0) })
        result.sort {
            let (a, b) = (rank[$0.verdict] ?? 9, rank[$1.verdict] ?? 9)
            if a != b { return a < b }
            return ($0.own.bytes &+ $0.dragged.bytes, $0.own.blocks, $1.example) > (
                $1.own.bytes &+ $1.dragged.bytes, $1.own.blocks, $0.example
            )
        }
        return result
    }
}

extension LeakSummary {
    /// The summary without suppressed rows. The sums leave them out too, and a note says how much that is.
    package func without(_ suppressions: Suppressions) -> LeakSummary {
        let asked = rows.map { row in
            var one = Row(node: row.node)
            (one.blocks, one.bytes) = (row.own.blocks, row.own.bytes)
            return one
        }
        let (kept, suppressed) = suppressions.sift(asked, of: reduction, names: names)
        guard !suppressed.uses.isEmpty else { return self }
        var result = self, next = 0
        result.rows = []
        // The remaining rows keep their order.
        for (row, one) in zip(rows, asked) {
            if next < kept.count, kept[next].node == one.node, kept[next].bytes == one.bytes,
                kept[next].blocks == one.blocks
            {
                next += 1
                result.rows.append(row)
            } else {
                result.totals[row.verdict]?.blocks &-= row.own.blocks
                result.totals[row.verdict]?.bytes &-= row.own.bytes
            }
        }
        for use in suppressed.uses {
            result.notes.append(
                "\(counted(use.blocks, "block")) of \(counted(use.bytes, "byte")) suppressed by \(use.rule.name)")
        }
        return result
    }
}

extension LeakReport {
    /// The verdict for a report.
    package var summary: LeakSummary {
        let snapshot = verdict.snapshot
        var summary = LeakSummary(reduction: reduction, names: names)
        summary.pauseNanoseconds = snapshot.pauseNanoseconds
        (summary.totals, summary.rows) = (verdict.totals, rows)
        summary.notRead = snapshot.shortfalls.map(\.what)
        summary.notes = snapshot.notes
        if verdict.defended > 0 {
            summary.notes.append(
                "\(counted(UInt64(verdict.defended), "block")) called possible that only an unaligned, marked or "
                    + "mangled pointer leads to")
        }
        return summary
    }

    /// The verdict in the form that a dump stores. The dump may be of a later moment: blocks that were allocated
    /// meanwhile are "unknown".
    ///
    /// - Complexity: that of the tree of holders.
    package func stored() -> VerdictToStore {
        let told = summary, table = verdict.table
        var stored = StoredVerdict()
        (stored.notRead, stored.notes, stored.pauseNanoseconds) = (told.notRead, told.notes, told.pauseNanoseconds)
        stored.holders = HolderTree(self, leastShare: 0.002).lines.prefix(4000).map { line in
            let stack = line.stack == BlockTable.earlierStack ? nil : line.stack
            return StoredHolder(
                name: stack == nil ? line.text : "", stack: stack, isSharedByRoots: line.isSharedByRoots,
                depth: line.depth, own: line.own, kept: line.kept)
        }
        if let note = earlierNote { stored.notes.append(note) }
        return VerdictToStore(known: stored) { [verdict] block in
            guard let number = table.block(at: block.address), table.start(number) == block.address,
                table.stack(number) == block.stack, table.bytes(number) == block.bytes,
                table.tick(number) ?? block.tick == block.tick
            else { return (.unknown, Amount()) }
            return (verdict.verdict(number), verdict.dragged[UInt32(number)] ?? Amount())
        }
    }

    /// What a dump can't store: the verdicts on blocks from before the recording, of which it has none.
    private var earlierNote: String? {
        let parts = rows.filter(isEarlier).map {
            "\(counted($0.own.blocks, "block")) of \(counted($0.own.bytes, "byte")) \($0.verdict.text)"
        }
        guard !parts.isEmpty else { return nil }
        return "blocks from before the recording are not in the dump: \(parts.joined(separator: ", "))"
    }
}

extension LeakSummary {
    /// The verdict that an image stores; `input` is its number in the reduction.
    ///
    /// - Returns: nil if it stores no verdict.
    package init?(_ reduction: Reduction, input: Int, names: FrameNames) {
        guard reduction.inputs.indices.contains(input), let stored = reduction.inputs[input].verdict else { return nil }
        self.init(reduction: reduction, names: names)
        isStored = true
        (pauseNanoseconds, totals) = (stored.pauseNanoseconds, stored.totals)
        (notRead, notes) = (stored.notRead, stored.notes)
        let nodes = reduction.nodes(ofStacksOf: input)
        rows = Self.ordered(
            stored.stacks.map { said in
                LeakRow(
                    node: Int(said.stack) < nodes.count ? nodes[Int(said.stack)] : 0, verdict: said.verdict,
                    own: said.own, dragged: said.dragged, example: said.example)
            })
        if let unknown = totals[.unknown] {
            notes.append(
                "\(counted(unknown.blocks, "block")) of \(counted(unknown.bytes, "byte")) without a verdict: allocated "
                    + "between the verdict and the dump's end")
        }
    }
}

extension HolderTree {
    /// The tree that an image stores.
    package init?(_ reduction: Reduction, input: Int, names: FrameNames) {
        guard reduction.inputs.indices.contains(input), let stored = reduction.inputs[input].verdict else { return nil }
        let nodes = reduction.nodes(ofStacksOf: input)
        let lines = stored.holders.map { holder in
            let text: String
            if let stack = holder.stack {
                text = names.shortStack(Int(stack) < nodes.count ? nodes[Int(stack)] : 0)
            } else {
                text = holder.name.isEmpty ? "a root without a name" : holder.name
            }
            return HolderLine(
                text: text, isSharedByRoots: holder.isSharedByRoots, depth: holder.depth, own: holder.own,
                kept: holder.kept, stack: holder.stack)
        }
        self.init(lines: lines, total: stored.totals[.reachable] ?? Amount())
    }

    /// The tree without the lines that keep less than this share of all reachable bytes, and the lines below them.
    package func pruned(leastShare: Double) -> HolderTree {
        let least = UInt64(Double(total.bytes) * leastShare)
        var kept: [HolderLine] = [], cut = Int.max
        for line in lines where line.depth <= cut || cut == .max {
            if line.kept.bytes < max(least, 1) {
                cut = line.depth
            } else {
                cut = .max
                kept.append(line)
            }
        }
        return HolderTree(lines: kept, total: total)
    }
}

extension FrameNames {
    /// A stack in a few words: the innermost functions of the program's own, and its tag.
    func shortStack(_ node: UInt32, most: Int = 3) -> String {
        var words: [String] = []
        let frames = reduction.frames(of: Row(node: node))
        let tag = frames.last { $0.module == SpecialModule.tag }.map { " (\(name($0).text))" } ?? ""
        for frame in reduction.code(of: Row(node: node)) where words.count < most {
            let named = name(frame)
            if named.isStartup { break }
            if words.isEmpty && standsBetween(named) { continue }
            words.append(named.function.map(printable) ?? named.text)
            if named.function == "main" { break }
        }
        return (words.isEmpty ? "no frames" : words.joined(separator: " ← ")) + tag
    }
}

/// Makes the verdict on a snapshot, with names.
///
/// - Throws: `InputError` if the image can't be read.
/// - Complexity: that of the verdict, and of reducing the image.
package func judge(
    _ snapshot: Snapshot, _ image: HeapImage, symbolizer: Symbolizer,
    progress: ((ScanProgress) -> Void)? = nil
) throws -> LeakReport {
    let reduction = Reduction()
    try reduction.add(image, onlyStacks: true)
    symbolizer.look(inRoots: reduction.rootsOfRunningProcesses)
    return LeakReport(
        LeakVerdict(snapshot, loaderStacks: reduction.stacksOfLoader(input: 0), progress: progress),
        reduction: reduction, input: 0, names: FrameNames(reduction, symbolizer: symbolizer), symbolizer: symbolizer)
}
