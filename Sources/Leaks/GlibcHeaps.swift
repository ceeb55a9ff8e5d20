// glibc's arenas and their heaps in a running process. The main arena lies in libc's data, and its heap is the break;
// every other arena lies in its first heap. Arenas are in a ring, and the heaps of one in a chain from the newest.
//
//     malloc_state:  mutex, flags, have_fastchunks: 4 each, 4 of padding; fastbinsY[10]; top; last_remainder;
//                    bins[254]; binmap[4]: 4 each; next; next_free; attached_threads; system_mem; max_system_mem
//                    (since 2.27)
//     heap_info:     ar_ptr; prev; size; …; and in an arena's first heap its malloc_state behind that
//
// The program may run meanwhile and may have damaged its memory: each pointer is checked against another, and every
// walk has a bound.

/// One heap of an arena: addresses that malloc takes chunks from.
package struct GlibcHeap: Equatable {
    package var range: Range<UInt64>
    /// Where its first chunk begins; what lies before it is malloc's own record.
    package var firstChunk: UInt64
}

/// One arena.
package struct GlibcArena {
    package var address: UInt64
    package var isMain: Bool
    package var heaps: [GlibcHeap]
    /// The chunk that the arena grows into, the last of its newest heap.
    package var top: UInt64
    /// The chunks in fast bins: free, but marked as in use until malloc_trim or a large free.
    package var fastChunks: Set<UInt64> = []
    /// Whether all lists of the fast bins could be read to their ends.
    package var hasWholeFastLists = true
}

/// glibc's arenas, and its settings.
package struct GlibcHeaps {
    package private(set) var arenas: [GlibcArena] = []
    package private(set) var parameters: MallocParameters?
    /// Whether the list of arenas could be read to its end.
    package private(set) var isWhole = true
    /// What could not be found, for people.
    package private(set) var notes: [String] = []

    private static let heapBytes: UInt64 = 64 << 20
    private static let stateBytes: UInt64 = 2200, nextOffset: UInt64 = 2160, topOffset: UInt64 = 96
    private static let mostArenas = 4096, mostHeaps = 1 << 16, mostFastChunks = 4 << 20

    /// - Returns: nil if the main arena is not found.
    package init?(_ program: RunningProgram) {
        guard let main = program.mainArena() else { return nil }
        self.init(main: main, mappings: program.mappings, libcData: program.libcData, memory: program.memory)
    }

    /// - Parameters:
    ///   - main: the main arena's address.
    ///   - libcData: libc's writable data.
    /// - Complexity: O(arenas, heaps and chunks in fast bins) readings, and O(libc's data).
    init(main: UInt64, mappings: [AddressMapping], libcData: [Range<UInt64>], memory source: any ProcessMemory) {
        var memory = ProgramMemory(source)
        let breaks = mappings.filter { $0.path == "[heap]" }.map(\.range)
        if let first = breaks.first {
            parameters = MallocParameters.find(in: libcData, firstBreak: first.lowerBound, source)
        }
        var heaps: [GlibcHeap] = []
        if let low = breaks.first?.lowerBound, let high = breaks.last?.upperBound {
            let base = max(parameters?.firstBreak ?? low, low)
            heaps.append(GlibcHeap(range: low ..< high, firstChunk: (base + 15) & ~15))
        }
        var arena = GlibcArena(address: main, isMain: true, heaps: heaps, top: memory.word(main + Self.topOffset) ?? 0)
        addFastChunks(to: &arena, &memory)
        arenas.append(arena)
        var next = memory.word(main + Self.nextOffset) ?? main
        while next != main {
            guard arenas.count < Self.mostArenas, var other = Self.arena(next, &memory) else {
                isWhole = false
                notes.append("malloc's list of arenas changed or can't be read: some arenas may be missing")
                break
            }
            addFastChunks(to: &other, &memory)
            arenas.append(other)
            next = memory.word(next + Self.nextOffset) ?? main
        }
    }

    private static func arena(_ address: UInt64, _ memory: inout ProgramMemory) -> GlibcArena? {
        guard address & 15 == 0, address < 1 << 48, let top = memory.word(address + topOffset) else { return nil }
        let infoBytes = address & (heapBytes - 1)
        guard infoBytes > 0, infoBytes < 256 else { return nil }
        var heaps: [GlibcHeap] = [], heap = top & ~(heapBytes - 1)
        while heap != 0 {
            guard heaps.count < mostHeaps, heap & (heapBytes - 1) == 0, memory.word(heap) == address,
                let previous = memory.word(heap + 8), let size = memory.word(heap + 16), size <= heapBytes
            else { return nil }
            let isFirst = heap == address - infoBytes
            heaps.append(
                GlibcHeap(
                    range: heap ..< heap + size,
                    firstChunk: isFirst ? (address + stateBytes + 15) & ~15 : heap + infoBytes))
            if isFirst { break }
            heap = previous
        }
        guard heaps.last?.range.lowerBound == address - infoBytes else { return nil }
        return GlibcArena(address: address, isMain: false, heaps: heaps.reversed(), top: top)
    }

    /// The lists of the fast bins.
    private mutating func addFastChunks(to arena: inout GlibcArena, _ memory: inout ProgramMemory) {
        var found: Set<UInt64> = []
        for bin in 0 ..< 10 {
            var chunk = memory.word(arena.address + 16 + UInt64(bin) * 8) ?? 0, links = FreeListLinks()
            let size = UInt64(bin + 2) * 16
            while chunk != 0 {
                guard chunk & 15 == 0, let header = memory.word(chunk + 8), header & ~7 == size,
                    let link = memory.word(chunk + 16), found.count < Self.mostFastChunks,
                    found.insert(chunk).inserted
                else {
                    arena.hasWholeFastLists = false
                    notes.append(
                        "a list of malloc's fast bins changed meanwhile, or is too long: what a trim returns "
                            + "may be more")
                    break
                }
                chunk = links.target(of: link, at: chunk + 16) { Self.mayBeChunk($0, size, &memory) }
            }
        }
        arena.fastChunks = found
    }

    private static func mayBeChunk(_ address: UInt64, _ size: UInt64, _ memory: inout ProgramMemory) -> Bool {
        address & 15 == 0 && address < 1 << 48 && memory.word(address + 8).map { $0 & ~7 == size } ?? false
    }
}
