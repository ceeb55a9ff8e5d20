// A verdict with names: rows by stack and verdict, and the words for roots and blocks that all forms of the report
// share.

import Glibc
import HeapImage
import Leaks
import Proc
import Reduce
import Symbols
import Text

/// A verdict, ready to be reported.
package final class LeakReport {
    package let verdict: LeakVerdict
    package let reduction: Reduction
    package let names: FrameNames
    /// All rows, the worst verdict first, then the largest.
    package private(set) var rows: [LeakRow] = []
    private let nodeOfStack: [UInt32]
    /// The node of blocks from before the recording, of which no image has a stack.
    private let earlierNode: UInt32
    private let symbolizer: Symbolizer
    private let data: [(range: Range<UInt64>, module: ModulePlace)]
    private var symbols: [String: DataSymbols?] = [:]

    /// - Parameter input: the number of the image among the reduction's inputs.
    package init(
        _ verdict: LeakVerdict, reduction: Reduction, input: Int, names: FrameNames, symbolizer: Symbolizer
    ) {
        (self.verdict, self.reduction, self.names, self.symbolizer) = (verdict, reduction, names, symbolizer)
        nodeOfStack = reduction.nodes(ofStacksOf: input)
        earlierNode = reduction.node(of: reduction.frame(LogFrame(name: Array(Self.earlierText.utf8))))
        data = verdict.snapshot.dataModules()
        let table = verdict.table
        // First by stack and verdict, which are few, then by node: several stacks may have the same node.
        let kinds = Verdict.allCases.count, stacks = max(nodeOfStack.count, 1) + 1
        var sums = [Amount](repeating: Amount(), count: stacks * kinds)
        var first = [Int](repeating: -1, count: stacks * kinds), dragged = [Int: Amount]()
        func place(_ block: Int) -> Int {
            let stack = Int(table.stack(block))
            let known = stack == BlockTable.earlierStack ? stacks - 1 : stack < stacks - 1 ? stack : 0
            return known * kinds + Int(verdict.verdict(block).rawValue)
        }
        for block in 0 ..< table.count {
            let place = place(block)
            if first[place] < 0 { first[place] = block }
            sums[place].add(Amount(blocks: 1, bytes: table.bytes(block)))
        }
        for (leader, amount) in verdict.dragged where verdict.verdict(Int(leader)) == .definite {
            dragged[place(Int(leader)), default: Amount()].add(amount)
        }
        var rows: [LeakRow] = []
        for (place, block) in first.enumerated() where block >= 0 {
            var row = LeakRow(node: node(of: block), verdict: verdict.verdict(block), example: table.start(block))
            row.own = sums[place]
            row.dragged = dragged[place] ?? Amount()
            rows.append(row)
        }
        self.rows = LeakSummary.ordered(rows)
    }

    func node(of block: Int) -> UInt32 {
        let stack = Int(verdict.table.stack(block))
        if stack == BlockTable.earlierStack { return earlierNode }
        return stack < nodeOfStack.count ? nodeOfStack[stack] : 0
    }

    /// Whether a row is of blocks from before the recording.
    func isEarlier(_ row: LeakRow) -> Bool { row.node == earlierNode }

    /// Stands for the stack of blocks from before the recording.
    static let earlierText = "from before the recording"

    func frames(_ node: UInt32) -> [Frame] { reduction.frames(of: Row(node: node)) }

    /// A stack in a few words: the innermost functions of the program's own.
    package func shortStack(_ node: UInt32) -> String { names.shortStack(node) }

    /// A block in a few words.
    package func text(ofBlock block: Int) -> String {
        "block \(hexadecimal(verdict.table.start(block))) of \(counted(verdict.table.bytes(block), "byte")) "
            + "(\(shortStack(node(of: block))))"
    }

    /// A root in a few words. With `whole`, including the place in it; without, only what it shares with similar roots.
    package func text(ofRoot root: RootPlace, whole: Bool = true) -> String {
        switch root.kind {
        case .register: return "register \(root.place) of thread \(root.threadID ?? 0)"
        case .kernel: return root.place
        case .loader: return root.place
        case .program:
            return root.place.isEmpty ? root.mapping + (whole ? " at \(hexadecimal(root.address))" : "") : root.place
        case .stack: return "stack of thread \(root.threadID ?? 0)" + (whole ? " at \(hexadecimal(root.address))" : "")
        case .thread:
            return root.place.isEmpty
                ? "data of \(printable(root.mapping))" + (whole ? " at \(hexadecimal(root.address))" : "")
                : "\(root.place) of "
                    + "\(root.threadID == nil && Int(root.mapping) == nil ? "" : "thread ")\(printable(root.mapping))"
        case .data, .mapping, .shared:
            if let named = nameOfData(at: root.address, whole: whole) { return named }
            let mapping =
                root.mapping.isEmpty ? verdict.snapshot.mappingText(at: root.address) : printable(root.mapping)
            return (root.kind == .shared ? "shared memory " : "memory ") + mapping
                + (whole ? " at \(hexadecimal(root.address))" : "")
        }
    }

    /// "global session_table+0x18 (server)".
    private func nameOfData(at address: UInt64, whole: Bool) -> String? {
        guard let (_, module) = data.last(where: { $0.range.contains(address) }) else { return nil }
        let base = module.path.split(separator: "/").last.map(String.init) ?? module.path
        if symbols[module.path] == nil { symbols[module.path] = .some(openSymbols(module.path)) }
        if let named = symbols[module.path].flatMap({ $0 })?.name(at: address &- module.bias) {
            let offset = whole && named.offset > 0 ? "+\(hexadecimal(named.offset))" : ""
            return "global \(printable(symbolizer.demangle(named.name)))\(offset) (\(printable(base)))"
        }
        return "data of \(printable(base))" + (whole ? "+\(hexadecimal(address &- module.bias))" : "")
    }
}

extension LeakReport {
    /// The data symbols of a module; nil if its file was replaced, or can't be read.
    private func openSymbols(_ path: String) -> DataSymbols? {
        let known = reduction.modules.first { pathText($0.path) == path && !$0.buildID.isEmpty }
        let mapping = verdict.snapshot.mappings.first { $0.path == path }
        // Without a build-id to compare, only the mapped file itself will do.
        if known == nil {
            var status = stat()
            guard let mapping, path.withPath({ stat($0, &status) }) == 0, UInt64(status.st_ino) == mapping.inode else {
                return nil
            }
        }
        return try? DataSymbols(path: path, buildID: known?.buildID, search: symbolizer.search)
    }
}

extension Snapshot {
    /// A mapping in words, by its addresses.
    func mappingText(at address: UInt64) -> String {
        mappings.first { $0.range.contains(address) }.map {
            "\(hexadecimal($0.range.lowerBound))-\(hexadecimal($0.range.upperBound))"
        } ?? hexadecimal(address)
    }
}

extension Reduction {
    /// The stacks of the dynamic loader's own allocations.
    package func stacksOfLoader(input: Int) -> Set<UInt32> {
        var isLoader: [UInt32: Bool] = [:], result: Set<UInt32> = []
        for (stack, node) in nodes(ofStacksOf: input).enumerated() where node > 0 {
            guard let first = frames(of: Row(node: node)).first else { continue }
            let known = isLoader[first.module] ?? modules[Int(first.module)].baseName.hasPrefix("ld-linux")
            isLoader[first.module] = known
            if known { result.insert(UInt32(stack)) }
        }
        return result
    }
}
