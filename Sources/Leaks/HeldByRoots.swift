// What the roots hold: their pointers to reachable blocks, by the roots' names. The tree of holders begins with them,
// and so does the graph that other tools draw.

import HeapImage

/// The roots that point to reachable blocks.
package struct HeldByRoots {
    package struct Root {
        package var name: String
        /// The kind of the first root of this name.
        package var kind: RootKind
        /// The blocks to which it points, each once.
        package var blocks: [UInt32]

        package init(name: String, kind: RootKind, blocks: [UInt32] = []) {
            (self.name, self.kind, self.blocks) = (name, kind, blocks)
        }
    }
    package private(set) var roots: [Root] = []

    /// - Parameter group: names a root; roots with the same name count as one.
    /// - Complexity: O(bytes of all roots), some 30 bytes of memory a pointer.
    package init(_ verdict: LeakVerdict, group: (RootPlace) -> String) {
        let scan = verdict.scan, table = verdict.table
        var names: [String: Int] = [:], isHeld = Set<UInt64>(), groups: [RootPlace: String] = [:]
        func add(_ block: UInt32, _ place: RootPlace) {
            let name = place.kind == .data ? group(place) : groups[place] ?? group(place)
            if place.kind != .data { groups[place] = name }
            let number = names[name] ?? roots.count
            if number == roots.count {
                names[name] = number
                roots.append(Root(name: name, kind: place.kind))
            }
            if isHeld.insert(UInt64(number) << 32 | UInt64(block)).inserted { roots[number].blocks.append(block) }
        }
        // The scan kept one pointer per block, but here each root counts: if two roots hold a block, it survives the
        // loss of either. A variable is identified by its address; other roots have one name each.
        var places: [Int: RootPlace] = [:]
        scan.forEachRootPointer { hit, root, address, value, place in
            guard hit.isExact || scan.referenceOf[Int(hit.block)] != 0, verdict.verdict(Int(hit.block)) == .reachable
            else { return }
            let kind = scan.roots.roots[root].kind, isOne = kind != .data && address != 0
            let known = isOne ? places[root] : nil
            let found =
                known
                ?? verdict.place(
                    of: RootReference(
                        block: hit.block, root: UInt32(root), address: address, value: value, isExact: hit.isExact,
                        place: place))
            if isOne && known == nil { places[root] = found }
            add(hit.block, found)
        }
        for block in 0 ..< table.count
        where verdict.verdict(block) == .reachable && verdict.parent(of: block) == nil && scan.referenceOf[block] == 0 {
            add(
                UInt32(block),
                RootPlace(kind: .loader, address: 0, place: "the dynamic loader", threadID: nil, mapping: ""))
        }
    }
}

extension LeakVerdict {
    /// The blocks from which all others of their standing can be reached: possibly lost ones that no possibly lost
    /// block holds, or definitely lost ones.
    ///
    /// - Parameter verdict: `possible` or `definite`.
    /// - Complexity: O(blocks)
    package func first(_ wanted: Verdict) -> [UInt32] {
        (0 ..< table.count).compactMap { block in
            guard verdict(block) == wanted else { return nil }
            if wanted == .possible, let parent = parent(of: block), verdict(parent) == .possible { return nil }
            return UInt32(block)
        }
    }

    /// Replaces `blocks` by those to which a block points and that have its standing: reachable, possibly lost, or
    /// lost. A lost block keeps nothing alive, so its pointers to other blocks are not among them.
    ///
    /// - Complexity: O(pointers)
    package func held(by block: Int, into blocks: inout [UInt32]) {
        blocks.removeAll(keepingCapacity: true)
        let standing = Self.standing(verdict(block))
        for index in Int(scan.edgeStart[block]) ..< Int(scan.edgeStart[block + 1]) {
            let target = scan.edges[index] & ~Scan.interiorEdge
            if Self.standing(verdict(Int(target))) == standing { blocks.append(target) }
        }
    }

    private static func standing(_ verdict: Verdict) -> Verdict { verdict == .indirect ? .definite : verdict }
}
