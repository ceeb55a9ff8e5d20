// glibc's arenas and their heaps in a running process. The main arena lies in libc's data, and its heap is the break;
// every other arena lies in its first heap. Arenas are in a ring, and the heaps of one in a chain from the newest.
//
//     malloc_state:  mutex, flags, have_fastchunks: 4 each, 4 of padding; fastbinsY[10]; top; last_remainder;
//                    bins[254]; binmap[4]: 4 each; next; next_free; attached_threads; system_mem; max_system_mem
//                    (since 2.27)
//     heap_info:     ar_ptr; prev; size; …; and in an arena's first heap its malloc_state behind that
//
// The program runs meanwhile and may have damaged its memory: each pointer is checked against another, and every walk
// has a bound.

import Leaks

/// One heap of an arena: addresses that malloc takes chunks from.
struct GlibcHeap: Equatable {
    var range: Range<UInt64>
    /// Where its first chunk begins; what lies before it is malloc's own record.
    var firstChunk: UInt64
}

/// One arena.
struct GlibcArena {
    var address: UInt64
    var isMain: Bool
    var heaps: [GlibcHeap]
    /// The chunk that the arena grows into, the last of its newest heap.
    var top: UInt64
    /// The chunks in fast bins: free, but marked as in use until malloc_trim or a large free.
    var fastChunks: Set<UInt64> = []
}

/// glibc's arenas, and its settings.
struct GlibcHeaps {
    var arenas: [GlibcArena] = []
    var parameters: MallocParameters?
    /// What could not be found, for people.
    var notes: [String] = []

    static let heapBytes: UInt64 = 64 << 20
    private static let stateBytes: UInt64 = 2200, nextOffset: UInt64 = 2160, topOffset: UInt64 = 96
    private static let mostArenas = 4096, mostHeaps = 1 << 16, mostFastChunks = 4 << 20

    /// - Returns: nil if the main arena is not found.
    /// - Complexity: O(arenas, heaps and chunks in fast bins) readings, and O(libc's data).
    init?(_ program: RunningProgram) {
        guard let main = program.mainArena() else { return nil }
        var memory = ProgramMemory(program.memory)
        let breaks = program.mappings.filter { $0.path == "[heap]" }.map(\.range)
        if let first = breaks.first {
            parameters = MallocParameters.find(
                in: program.libcData, firstBreak: first.lowerBound, program.memory)
        }
        var heaps: [GlibcHeap] = []
        if let low = breaks.first?.lowerBound, let high = breaks.last?.upperBound {
            let base = max(parameters?.firstBreak ?? low, low)
            heaps.append(GlibcHeap(range: low ..< high, firstChunk: (base + 15) & ~15))
        }
        var arena = GlibcArena(address: main, isMain: true, heaps: heaps, top: memory.word(main + Self.topOffset) ?? 0)
        arena.fastChunks = fastChunks(of: main, &memory)
        arenas.append(arena)
        var next = memory.word(main + Self.nextOffset) ?? main
        while next != main {
            guard arenas.count < Self.mostArenas, let other = Self.arena(next, &memory) else {
                notes.append("malloc's list of arenas changed or can't be read: some arenas may be missing")
                break
            }
            arenas.append(other)
            arenas[arenas.count - 1].fastChunks = fastChunks(of: next, &memory)
            next = memory.word(next + Self.nextOffset) ?? main
        }
    }

    private static func arena(_ address: UInt64, _ memory: inout ProgramMemory) -> GlibcArena? {
        guard address & 15 == 0, let top = memory.word(address + topOffset) else { return nil }
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

    /// The lists of the fast bins. Since 2.32 a link is stored as the bits in which it differs from its own address,
    /// shifted by 12.
    private mutating func fastChunks(of arena: UInt64, _ memory: inout ProgramMemory) -> Set<UInt64> {
        var found: Set<UInt64> = []
        for bin in 0 ..< 10 {
            var chunk = memory.word(arena + 16 + UInt64(bin) * 8) ?? 0, isMangled: Bool?
            let size = UInt64(bin + 2) * 16
            while chunk != 0 {
                guard chunk & 15 == 0, let header = memory.word(chunk + 8), header & ~7 == size,
                    let link = memory.word(chunk + 16), found.count < Self.mostFastChunks,
                    found.insert(chunk).inserted
                else {
                    notes.append(
                        "a list of malloc's fast bins changed meanwhile, or is too long: what a trim returns "
                            + "may be more")
                    break
                }
                // The end of a list is 0, mangled or not: which of the two shows in any link.
                let demangled = link ^ (chunk + 16) >> 12
                if isMangled == nil {
                    isMangled = link == 0 ? false : demangled == 0 || Self.mayBeChunk(demangled, size, &memory)
                }
                chunk = isMangled == true ? demangled : link
            }
        }
        return found
    }

    private static func mayBeChunk(_ address: UInt64, _ size: UInt64, _ memory: inout ProgramMemory) -> Bool {
        address & 15 == 0 && address < 1 << 47 && memory.word(address + 8).map { $0 & ~7 == size } ?? false
    }
}
