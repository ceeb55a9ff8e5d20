// The calls that led to live memory, as one tree: from the outermost function inward, or inverted, from the allocating
// function outward.
//
// Invariant: a call's bytes are its own plus those of its calls, so each level of the whole tree adds up to the total.
// Calls of one function from one caller are one, even from different lines. A function that inlined others is their
// caller, as in a stack.

import Reduce
import Text

/// Which end of the stacks is the tree's root.
package enum CallTreeDirection: Sendable {
    /// From the thread's start inward.
    case topDown
    /// From the allocating function outward.
    case inverted
}

package struct CallTree {
    package struct Node {
        /// The function, and its origin if all merged calls agree on it.
        package var name: String
        package var place: String
        package var isDim: Bool
        package var bytes: UInt64 = 0
        package var blocks: UInt64 = 0
        /// How many of the blocks have no known size; `bytes` is without them.
        package var blocksOfUnknownSize: UInt64 = 0
        /// What it allocated itself (from the outermost inward), or what ends there (inverted).
        package var ownBytes: UInt64 = 0
        package var ownBlocks: UInt64 = 0
        package var ownBlocksOfUnknownSize: UInt64 = 0
        /// Largest first.
        package var children: [Int] = []
        fileprivate var file: String?
        fileprivate var line: Int?
        fileprivate var module: String

        init(name: String, isDim: Bool = false, file: String? = nil, line: Int? = nil, module: String = "") {
            (self.name, self.isDim, self.file, self.line, self.module) = (name, isDim, file, line, module)
            place = ""
        }
    }

    /// Node 0 is the root, which stands for everything. No child comes before its parent.
    package private(set) var nodes = [Node(name: "")]
    private var numbers: [Edge: Int] = [:]

    private struct Edge: Hashable { var parent: Int, function: Int }
    private struct Function: Hashable { var name: String, module: String }

    /// Makes the tree from rows, ordered by blocks or by bytes.
    ///
    /// - Complexity: O(rows × frames)
    package init(_ rows: [Row], names: FrameNames, direction: CallTreeDirection, byBlocks: Bool = false) {
        var functions: [Function: Int] = [:]
        var known: [Frame: [(entry: NamedFrame, function: Int)]] = [:]
        for row in rows {
            var path: [(entry: NamedFrame, function: Int)] = []
            for frame in names.reduction.frames(of: row) {
                let entries =
                    known[frame]
                    ?? names.expanded(frame).map { entry in
                        let function = Function(name: entry.function ?? entry.text, module: entry.modulePath ?? "")
                        let number = functions[function] ?? functions.count
                        functions[function] = number
                        return (entry, number)
                    }
                known[frame] = entries
                path += entries
            }
            add(row, direction == .inverted ? path : path.reversed())
        }
        for number in nodes.indices {
            nodes[number].place = Self.place(nodes[number])
            let children = nodes[number].children.sorted { order($0, byBlocks) > order($1, byBlocks) }
            nodes[number].children = children
        }
    }

    private func order(_ node: Int, _ byBlocks: Bool) -> (UInt64, UInt64, Int) {
        byBlocks ? (nodes[node].blocks, nodes[node].bytes, -node) : (nodes[node].bytes, nodes[node].blocks, -node)
    }

    private mutating func add(_ row: Row, _ path: [(entry: NamedFrame, function: Int)]) {
        var node = 0
        count(row, at: 0)
        for (entry, function) in path {
            let edge = Edge(parent: node, function: function)
            if let number = numbers[edge] {
                node = number
                if nodes[node].line != entry.line { nodes[node].line = nil }
                if nodes[node].file != entry.file { nodes[node].file = nil }
            } else {
                let name = entry.function.map(printable) ?? entry.text
                nodes.append(
                    Node(
                        name: name, isDim: entry.isStartup || entry.frame.module == SpecialModule.cut, file: entry.file,
                        line: entry.line,
                        module: entry.function == nil ? "" : printable(entry.moduleName ?? "")))
                numbers[edge] = nodes.count - 1
                nodes[node].children.append(nodes.count - 1)
                node = nodes.count - 1
            }
            count(row, at: node)
        }
        nodes[node].ownBytes &+= row.bytes
        nodes[node].ownBlocks &+= row.blocks
        nodes[node].ownBlocksOfUnknownSize &+= row.blocksOfUnknownSize
    }

    private mutating func count(_ row: Row, at node: Int) {
        nodes[node].bytes &+= row.bytes
        nodes[node].blocks &+= row.blocks
        nodes[node].blocksOfUnknownSize &+= row.blocksOfUnknownSize
    }

    private static func place(_ node: Node) -> String {
        guard let file = node.file else { return node.module }
        return printable(file.split(separator: "/").last.map(String.init) ?? file) + (node.line.map { ":\($0)" } ?? "")
    }
}

/// Which calls of a tree are shown.
package struct CallTreeLimits {
    /// The smallest call that is shown, as a share of the whole or in bytes.
    package var leastShare = 0.01
    package var leastBytes: UInt64 = 0
    /// At most this many calls are shown, largest first; nil: all that are large enough.
    package var most: Int?
    /// The maximum depth of calls.
    package var depth: Int?

    package init(leastShare: Double = 0.01) { self.leastShare = leastShare }
}

extension CallTree {
    /// Which nodes are shown. A shown node's callers are shown, too.
    func shown(_ limits: CallTreeLimits, byBlocks: Bool) -> [Bool] {
        let whole = Double(byBlocks ? nodes[0].blocks : nodes[0].bytes)
        var shown = [Bool](repeating: false, count: nodes.count)
        var levels = [Int](repeating: 0, count: nodes.count)
        shown[0] = true
        var candidates: [Int] = []
        for number in nodes.indices where shown[number] {
            for child in nodes[number].children {
                levels[child] = levels[number] + 1
                let value = Double(byBlocks ? nodes[child].blocks : nodes[child].bytes)
                // An unknown size does not count as small.
                let isLarge = nodes[child].bytes >= limits.leastBytes && value >= limits.leastShare * whole
                guard isLarge || (!byBlocks && nodes[child].blocksOfUnknownSize > 0),
                    levels[child] <= limits.depth ?? .max
                else { continue }
                shown[child] = true
                candidates.append(child)
            }
        }
        guard let most = limits.most, candidates.count > most else { return shown }
        // Among equal ones, the one nearer to the root wins, because a parent comes before its child.
        candidates.sort { order($0, byBlocks) > order($1, byBlocks) }
        for number in candidates.dropFirst(most) { shown[number] = false }
        return shown
    }
}
