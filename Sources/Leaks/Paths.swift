// The way from a root to a block, as the verdict's walk found it first: what --why tells.

/// A place outside of all blocks that points to one.
package struct RootPlace: Hashable {
    package var kind: RootKind
    /// Of the pointer; 0: it is in no memory.
    package var address: UInt64
    /// What memory doesn't say: a register's name, a descriptor of epoll.
    package var place: String
    package var threadID: Int32?
    /// The path of the mapped file, or what the kernel calls it.
    package var mapping: String

    package init(kind: RootKind, address: UInt64, place: String = "", threadID: Int32? = nil, mapping: String = "") {
        (self.kind, self.address, self.place, self.threadID, self.mapping) = (kind, address, place, threadID, mapping)
    }
}

/// A way to a block.
package struct BlockPath {
    /// nil: nothing outside of blocks leads there.
    package var root: RootPlace?
    /// From the first block on to the one that was asked for.
    package var blocks: [Int]
    /// For each but the last, at which offset the pointer to the next lies; nil where it was not found again.
    package var offsets: [UInt64?]
}

extension LeakVerdict {
    /// The first path from a root to a block; of a lost block the chain that leads to it from its leader is not known,
    /// and it stands alone.
    ///
    /// - Complexity: O(the path's blocks), each read again.
    package func path(to block: Int) -> BlockPath {
        var blocks = [block]
        while let parent = parent(of: blocks[blocks.count - 1]), blocks.count <= table.count { blocks.append(parent) }
        blocks.reverse()
        let offsets = zip(blocks, blocks.dropFirst()).map { holder, held -> UInt64? in
            let words = scan.words(of: holder), first = (table.start(holder) + 7) & ~7
            let exact =
                words.firstIndex(of: table.start(held))
                ?? words.firstIndex { $0 >= table.start(held) && $0 < table.end(held) }
            return exact.map { first &+ UInt64($0) * 8 &- table.start(holder) }
        }
        return BlockPath(root: rootPlace(of: blocks[0]), blocks: blocks, offsets: offsets)
    }

    /// The root that holds a block, where one does itself.
    package func rootPlace(of block: Int) -> RootPlace? {
        let number = scan.referenceOf[block]
        guard number > 0 else {
            return verdict(block) == .reachable && parent(of: block) == nil
                ? RootPlace(kind: .loader, address: 0, place: "the dynamic loader", threadID: nil, mapping: "") : nil
        }
        return place(of: scan.references[Int(number) - 1])
    }

    func place(of reference: RootReference) -> RootPlace {
        let root = scan.roots.roots[Int(reference.root)]
        return RootPlace(
            kind: root.kind, address: reference.address, place: reference.place.isEmpty ? "" : reference.place,
            threadID: root.threadID, mapping: root.name)
    }

    /// The head of a block, as it was.
    package func head(of block: Int, limit: Int) -> [UInt8] {
        snapshot.memory.bytes(table.start(block), count: Int(min(table.bytes(block), UInt64(limit)))) ?? []
    }
}

/// A module's file, and what its addresses in memory are above its own.
package struct ModulePlace {
    package var path: String
    package var bias: UInt64
}

extension Snapshot {
    /// The modules' writable parts, .bss included, sorted.
    package func dataModules() -> [(range: Range<UInt64>, module: ModulePlace)] {
        modules { _ in true }.flatMap { module in
            module.data.map { ($0, ModulePlace(path: module.path, bias: module.bias)) }
        }
        .sorted { $0.0.lowerBound < $1.0.lowerBound }
    }
}
