// The path from a root to a block that the verdict's walk found first. `--why` shows it.

/// A place outside all blocks that points to one.
package struct RootPlace: Hashable {
    package var kind: RootKind
    /// The pointer's address; 0: it is not in memory.
    package var address: UInt64
    /// For a pointer that is not in memory: a register's name, a descriptor of epoll.
    package var place: String
    package var threadID: Int32?
    /// The path of the mapped file, or the kernel's name for the mapping.
    package var mapping: String

    package init(kind: RootKind, address: UInt64, place: String = "", threadID: Int32? = nil, mapping: String = "") {
        (self.kind, self.address, self.place, self.threadID, self.mapping) = (kind, address, place, threadID, mapping)
    }
}

/// A path to a block.
package struct BlockPath {
    /// nil: nothing outside blocks leads there.
    package var root: RootPlace?
    /// The blocks from the first one to the requested one.
    package var blocks: [Int]
    /// For each block but the last, the offset of the pointer to the next; nil if it was not found again.
    package var offsets: [UInt64?]
}

extension LeakVerdict {
    /// The first path from a root to a block. The path of a lost block is the block alone: the chain from its leader is
    /// not kept.
    ///
    /// - Complexity: O(blocks of the path), each read again.
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

    /// The root that points to the block itself; nil if none does.
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

    /// The first bytes of a block, at the snapshot's instant.
    package func head(of block: Int, limit: Int) -> [UInt8] {
        snapshot.memory.bytes(table.start(block), count: Int(min(table.bytes(block), UInt64(limit)))) ?? []
    }
}

/// A module's file and its load bias.
package struct ModulePlace {
    package var path: String
    package var bias: UInt64
}

extension Snapshot {
    /// The modules' writable parts with .bss, sorted.
    package func dataModules() -> [(range: Range<UInt64>, module: ModulePlace)] {
        modules { _ in true }.flatMap { module in
            module.data.map { ($0, ModulePlace(path: module.path, bias: module.bias)) }
        }
        .sorted { $0.0.lowerBound < $1.0.lowerBound }
    }
}
