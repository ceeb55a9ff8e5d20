// Who keeps what alive: for each reachable block, the one holder without which it would be lost (its dominator). The
// method is SEMI-NCA (L. Georgiadis, Linear-Time Algorithms for Dominators and Related Problems, 2005). A holder keeps
// the sum of all that it dominates.
//
// Nodes are numbered by a depth-first walk: 0 is the origin above all roots, then roots and blocks in the walk's order.

import HeapImage

/// A holder in the tree: a root, or a block.
package enum Holder: Hashable {
    /// An index into `Holders.roots`.
    case root(Int)
    case block(Int)
}

/// The tree of holders.
package final class Holders {
    /// The names, given by `group`, of the roots that hold blocks.
    package private(set) var roots: [String] = []
    private var nodes: [Holder?] = [nil]
    private var dominators: [UInt32] = []
    private var kept: [Amount] = []
    private var childStart: [UInt32] = []
    private var childList: [UInt32] = []

    /// - Parameter group: names a root; roots with the same name count as one holder.
    /// - Complexity: O((blocks + pointers) log blocks) time, some 40 bytes of memory a block.
    package init(_ verdict: LeakVerdict, group: (RootPlace) -> String) {
        let scan = verdict.scan, table = verdict.table
        // The edges of the origin and of the roots.
        let held = HeldByRoots(verdict, group: group).roots
        roots = held.map(\.name)

        // The walk: each block's `number` in it; 0: not reached.
        var number = [UInt32](repeating: 0, count: table.count)
        var parents: [UInt32] = [0]
        var stack: [(node: UInt32, next: Int)] = []
        var predecessors: [(UInt32, UInt32)] = []
        func successors(_ node: UInt32, _ index: Int) -> UInt32? {
            switch nodes[Int(node)] {
            case .root(let root): return index < held[root].blocks.count ? held[root].blocks[index] : nil
            case .block(let block):
                let place = Int(scan.edgeStart[block]) + index
                return place < Int(scan.edgeStart[block + 1]) ? scan.edges[place] & ~Scan.interiorEdge : nil
            case nil: return nil
            }
        }
        for root in roots.indices {
            nodes.append(.root(root))
            parents.append(0)
            stack.append((UInt32(nodes.count - 1), 0))
            while let (node, next) = stack.last {
                guard let block = successors(node, next) else {
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].next += 1
                guard verdict.verdict(Int(block)) == .reachable else { continue }
                if number[Int(block)] == 0 {
                    number[Int(block)] = UInt32(nodes.count)
                    nodes.append(.block(Int(block)))
                    parents.append(node)
                    stack.append((UInt32(nodes.count - 1), 0))
                } else {
                    predecessors.append((number[Int(block)], node))
                }
            }
        }
        solve(parents, predecessors)
        // Children have higher numbers than their dominators: one pass from the end computes the sums.
        kept = [Amount](repeating: Amount(), count: nodes.count)
        for node in stride(from: nodes.count - 1, to: 0, by: -1) {
            if case .block(let block) = nodes[node] { kept[node].add(Amount(blocks: 1, bytes: table.bytes(block))) }
            kept[Int(dominators[node])].add(kept[node])
        }
        childStart = [UInt32](repeating: 0, count: nodes.count + 1)
        for node in 1 ..< max(nodes.count, 1) { childStart[Int(dominators[node]) + 1] += 1 }
        for node in 0 ..< nodes.count { childStart[node + 1] += childStart[node] }
        childList = [UInt32](repeating: 0, count: max(nodes.count - 1, 0))
        var place = childStart
        for node in 1 ..< max(nodes.count, 1) {
            childList[Int(place[Int(dominators[node])])] = UInt32(node)
            place[Int(dominators[node])] += 1
        }
    }

    private func solve(_ parents: [UInt32], _ edges: [(UInt32, UInt32)]) {
        let count = nodes.count
        var start = [UInt32](repeating: 0, count: count + 1)
        for (node, _) in edges { start[Int(node) + 1] += 1 }
        for node in 0 ..< count { start[node + 1] += start[node] }
        var sources = [UInt32](repeating: 0, count: edges.count), place = start
        for (node, source) in edges {
            sources[Int(place[Int(node)])] = source
            place[Int(node)] += 1
        }
        var semi = (0 ..< UInt32(count)).map { $0 }, label = semi, ancestor = parents
        var path: [UInt32] = []
        // The least semidominator on the path up to nodes above `limit`, with path compression.
        func evaluate(_ node: UInt32, _ limit: UInt32) -> UInt32 {
            if node <= limit { return label[Int(node)] }
            path.removeAll(keepingCapacity: true)
            var at = node
            while ancestor[Int(at)] > limit {
                path.append(at)
                at = ancestor[Int(at)]
            }
            while let next = path.popLast() {
                let above = ancestor[Int(next)]
                if semi[Int(label[Int(above)])] < semi[Int(label[Int(next)])] { label[Int(next)] = label[Int(above)] }
                ancestor[Int(next)] = ancestor[Int(above)]
            }
            return label[Int(node)]
        }
        for node in stride(from: count - 1, to: 0, by: -1) {
            semi[node] = parents[node]
            for index in Int(start[node]) ..< Int(start[node + 1]) {
                let source = sources[index]
                semi[node] = min(semi[node], semi[Int(evaluate(source, UInt32(node)))])
            }
        }
        dominators = parents
        for node in 1 ..< max(count, 1) {
            while dominators[node] > semi[node] { dominators[node] = dominators[Int(dominators[node])] }
        }
    }

    /// What would be freed if this holder went; for the origin, everything reachable.
    package func amount(_ node: Int) -> Amount { kept[node] }
    package func holder(_ node: Int) -> Holder? { nodes[node] }
    /// What a node dominates directly.
    package func children(of node: Int) -> ArraySlice<UInt32> {
        childList[Int(childStart[node]) ..< Int(childStart[node + 1])]
    }
}
