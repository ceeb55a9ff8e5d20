// A verdict with names to it: rows by stack and verdict, and the words for roots and blocks that all forms of the report share.

import Common
import HeapImage
import Leaks
import Reduce
import Symbols

/// The blocks of one stack that have one verdict.
package struct LeakRow {
    package var node: UInt32
    package var verdict: Verdict
    package var own = Amount()
    /// What definitely lost blocks drag along: indirectly lost ones, which have rows of their own too.
    package var dragged = Amount()
    /// The first of the blocks, for --why.
    package var example: UInt64 = 0
}

/// A verdict, ready to be told.
package final class LeakReport {
    package let verdict: LeakVerdict
    package let reduction: Reduction
    package let names: FrameNames
    /// All rows, the worst verdict first, then the largest.
    package private(set) var rows: [LeakRow] = []
    private let nodeOfStack: [UInt32]
    private let symbolizer: Symbolizer
    private let data: [(range: Range<UInt64>, module: ModulePlace)]
    private var symbols: [String: NamedModule?] = [:]

    /// - Parameter input: the number of the image among the reduction's inputs.
    package init(_ verdict: LeakVerdict, reduction: Reduction, input: Int, names: FrameNames, symbolizer: Symbolizer) {
        (self.verdict, self.reduction, self.names, self.symbolizer) = (verdict, reduction, names, symbolizer)
        nodeOfStack = reduction.nodes(ofStacksOf: input)
        data = verdict.snapshot.dataModules()
        struct Key: Hashable { var node: UInt32, verdict: Verdict }
        var index: [Key: Int] = [:]
        let table = verdict.table
        for block in 0 ..< table.count {
            let key = Key(node: node(of: block), verdict: verdict.verdict(block))
            let place = index[key] ?? rows.count
            if place == rows.count {
                index[key] = place
                rows.append(LeakRow(node: key.node, verdict: key.verdict, example: table.start(block)))
            }
            rows[place].own.add(Amount(blocks: 1, bytes: table.bytes(block)))
            if let more = verdict.dragged[UInt32(block)], key.verdict == .definite { rows[place].dragged.add(more) }
        }
        let rank = Dictionary(uniqueKeysWithValues: Verdict.shown.enumerated().map { ($1, $0) })
        rows.sort {
            let (a, b) = (rank[$0.verdict] ?? 9, rank[$1.verdict] ?? 9)
            if a != b { return a < b }
            return ($0.own.bytes &+ $0.dragged.bytes, $0.own.blocks, $1.example) > ($1.own.bytes &+ $1.dragged.bytes, $1.own.blocks, $0.example)
        }
    }

    func node(of block: Int) -> UInt32 {
        let stack = Int(verdict.table.stack(block))
        return stack < nodeOfStack.count ? nodeOfStack[stack] : 0
    }

    func frames(_ node: UInt32) -> [Frame] { reduction.frames(of: Row(node: node)) }

    /// A stack in a few words: the innermost functions of the program's own.
    package func shortStack(_ node: UInt32, most: Int = 3) -> String {
        var words: [String] = []
        for frame in frames(node) where words.count < most {
            let named = names.name(frame)
            if named.isStartup { break }
            if words.isEmpty, let function = named.function, AllocationFunctions.standsBetween(function) { continue }
            words.append(named.function.map(escaped) ?? named.text)
            if named.function == "main" { break }
        }
        return words.isEmpty ? "no frames" : words.joined(separator: " ← ")
    }

    /// A block in a few words.
    package func text(ofBlock block: Int) -> String {
        "block \(hexadecimal(verdict.table.start(block))) of \(counted(verdict.table.bytes(block), "byte")) (\(shortStack(node(of: block))))"
    }

    /// A root in a few words; with `whole` also where in it, else what it shares with others of its kind.
    package func text(ofRoot root: RootPlace, whole: Bool = true) -> String {
        switch root.kind {
        case .register: return "register \(root.place) of thread \(root.threadID ?? 0)"
        case .kernel: return root.place
        case .loader: return root.place
        case .stack: return "stack of thread \(root.threadID ?? 0)" + (whole ? " at \(hexadecimal(root.address))" : "")
        case .thread:
            return root.place.isEmpty ? "data of \(escaped(root.mapping))" + (whole ? " at \(hexadecimal(root.address))" : "")
                : "\(root.place) of \(root.threadID == nil && Int(root.mapping) == nil ? "" : "thread ")\(escaped(root.mapping))"
        case .data, .mapping, .shared:
            if let named = nameOfData(at: root.address, whole: whole) { return named }
            let mapping = root.mapping.isEmpty ? verdict.snapshot.mappingText(at: root.address) : escaped(root.mapping)
            return (root.kind == .shared ? "shared memory " : "memory ") + mapping + (whole ? " at \(hexadecimal(root.address))" : "")
        }
    }

    /// "global session_table+0x18 (server)".
    private func nameOfData(at address: UInt64, whole: Bool) -> String? {
        guard let (_, module) = data.last(where: { $0.range.contains(address) }) else { return nil }
        let base = module.path.split(separator: "/").last.map(String.init) ?? module.path
        if symbols[module.path] == nil { symbols[module.path] = .some(try? symbolizer.module(path: module.path, buildID: nil)) }
        if let named = symbols[module.path].flatMap({ $0 })?.name(at: address &- module.bias) {
            let offset = whole && named.offset > 0 ? "+\(hexadecimal(named.offset))" : ""
            return "global \(escaped(symbolizer.demangle(named.name)))\(offset) (\(escaped(base)))"
        }
        return "data of \(escaped(base))" + (whole ? "+\(hexadecimal(address &- module.bias))" : "")
    }
}

extension Snapshot {
    /// A mapping by its addresses.
    func mappingText(at address: UInt64) -> String {
        mappings.first { $0.range.contains(address) }.map { "\(hexadecimal($0.range.lowerBound))-\(hexadecimal($0.range.upperBound))" } ?? hexadecimal(address)
    }
}
