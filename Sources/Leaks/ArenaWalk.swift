// All chunks of one of glibc's arenas in a snapshot, from header to header. A chunk is in use if the header behind it
// says so, and neither a fast bin nor a thread's cache has it.
//
// The arena may have been in the middle of a change. A thread that is alone takes no lock. So the walk believes an
// arena only if all of this holds: its lock is free, each heap's chunks lead to its very end, the sizes before and
// behind each free chunk are equal, the bins list just the free chunks, and the heaps' bytes are those that the arena
// counts. Then at most the chunks in the hands of the threads are out of place, and the registers of those hold them.

/// Why the chunks of an arena are not known.
enum ArenaFault: Error, Equatable {
    /// A thread had its lock.
    case locked
    /// Its records contradict each other, from this address on: a change was under way, or the program damaged them.
    case inconsistent(UInt64)
    /// A part of it was not found.
    case incomplete
    case tooLarge

    /// For people.
    var text: String {
        switch self {
        case .locked: "a thread is in malloc there"
        case .inconsistent(let address): "its chunks do not fit together at \(hex(address))"
        case .incomplete: "a part of it was not found"
        case .tooLarge: "it has too many chunks"
        }
    }
}

/// A chunk in use: its header's address, and its bytes with the header.
struct UsedChunk {
    var address: UInt64
    var bytes: UInt64
}

/// The walk through one arena.
struct ArenaWalk {
    /// Chunks in use of which the image has no block, in order of address within each heap.
    private(set) var unknown: [UsedChunk] = []
    /// The image's blocks, by number, whose chunks are in use.
    private(set) var known: [UInt32] = []
    /// What a chunk in use has behind the end that the image knows, beyond malloc's rounding.
    private(set) var tails: [Range<UInt64>] = []
    /// The memory that was walked: whole heaps.
    private(set) var ranges: [Range<UInt64>] = []
    private(set) var chunkCount = 0

    private let arena: GlibcArena
    private let cached: Set<UInt64>
    private let table: BlockTable
    private let reader: HeaderReader
    private var free: [UInt64] = []
    private var fastCount = 0
    private var hasTop = false

    static let mostChunks = 1 << 28
    private static let binsOffset: UInt64 = 112, systemBytesOffset: UInt64 = 2184
    private static let isInUse: UInt64 = 1, isMapped: UInt64 = 2, isOfArena: UInt64 = 4

    /// - Parameters:
    ///   - cached: the chunks in the caches of threads.
    ///   - mappings: where parts of the main arena may lie that are not in the break.
    /// - Complexity: O(chunks) readings of few bytes, most of them through a window; O(chunks) memory.
    init(
        _ arena: GlibcArena, cached: Set<UInt64>, table: BlockTable, mappings: [AddressMapping],
        memory: any ProcessMemory
    ) throws(ArenaFault) {
        (self.arena, self.cached, self.table) = (arena, cached, table)
        reader = HeaderReader(memory)
        guard let lock = memory.word(arena.address),
            let systemBytes = memory.word(arena.address &+ Self.systemBytesOffset)
        else {
            throw .incomplete
        }
        guard lock & 0xFFFF_FFFF == 0 else { throw .locked }
        guard arena.hasWholeFastLists else { throw .inconsistent(arena.address) }
        var bytes: UInt64 = 0
        for heap in arena.heaps {
            let end = try walk(from: heap.firstChunk, to: heap.range.upperBound)
            // The break's first bytes may be another's.
            let start = arena.isMain ? heap.firstChunk : heap.range.lowerBound
            ranges.append(start ..< end)
            bytes &+= end &- start
        }
        if arena.isMain { bytes &+= try walkParts(in: mappings, wanted: systemBytes &- bytes) }
        // The break's start need not be at a multiple of 16.
        guard hasTop, systemBytes &- bytes < 16 || bytes &- systemBytes < 16 else { throw .incomplete }
        guard fastCount == arena.fastChunks.count else { throw .inconsistent(arena.address) }
        try compareBins()
    }

    /// When the break can't grow, the main arena takes mappings of at least 1 MB.
    ///
    /// - Returns: their bytes.
    private mutating func walkParts(in mappings: [AddressMapping], wanted: UInt64) throws(ArenaFault) -> UInt64 {
        var bytes: UInt64 = 0
        for mapping in mappings where mapping.mayBeMallocs && bytes < wanted && wanted < 1 << 48 {
            var at = mapping.range.lowerBound
            while at < mapping.range.upperBound, let first = reader.word(at &+ 8), first & 7 == Self.isInUse {
                var part = self
                guard let end = try? part.walk(from: at, to: mapping.range.upperBound) else { break }
                self = part
                ranges.append(at ..< end)
                bytes &+= end &- at
                at = (end &+ 4095) & ~4095
            }
        }
        return bytes
    }

    /// Walks to the end of a heap: the top, or the fence that malloc leaves where it could not grow.
    private mutating func walk(from first: UInt64, to limit: UInt64) throws(ArenaFault) -> UInt64 {
        var chunk = first, last: UsedChunk?, lastFlags: UInt64 = 0
        while true {
            guard chunk & 15 == 0, chunk < limit, limit &- chunk >= 16, let before = reader.word(chunk),
                let header = reader.word(chunk &+ 8)
            else { throw .inconsistent(chunk) }
            let size = header & ~7
            if let last {
                if header & Self.isInUse == 0 {
                    guard before == last.bytes else { throw .inconsistent(chunk) }
                    free.append(last.address)
                } else if arena.fastChunks.contains(last.address) {
                    fastCount += 1
                } else if arena.isMain == (lastFlags & Self.isOfArena == 0) {
                    if !cached.contains(last.address) { addUsed(last) }
                } else if arena.isMain || size != 0 || last.address &+ 48 != limit {
                    throw .inconsistent(last.address)
                }
            }
            if chunk == arena.top {
                guard size <= limit &- chunk, arena.isMain || size == limit &- chunk else {
                    throw .inconsistent(chunk)
                }
                hasTop = true
                return chunk &+ size
            }
            if size < 32 {
                guard let end = fenceEnd(chunk, size, limit) else { throw .inconsistent(chunk) }
                return end
            }
            guard header & Self.isMapped == 0, size < limit &- chunk else { throw .inconsistent(chunk) }
            chunkCount += 1
            guard chunkCount <= Self.mostChunks else { throw .tooLarge }
            last = UsedChunk(address: chunk, bytes: size)
            lastFlags = header & 7
            chunk &+= size
        }
    }

    private mutating func addUsed(_ chunk: UsedChunk) {
        guard let block = table.block(at: chunk.address &+ 16), table.start(block) == chunk.address &+ 16 else {
            unknown.append(chunk)
            return
        }
        known.append(UInt32(block))
        // malloc makes a chunk of this size for such a block, or one of 16 bytes more if these would be left over.
        let expected = max(32, (table.bytes(block) &+ 23) & ~15)
        if chunk.bytes > expected &+ 16 { tails.append(table.end(block) ..< chunk.address &+ chunk.bytes) }
    }

    /// The end of the fence at a chunk that is too small for any: two of 16 bytes, or one of 16 and one of none.
    private func fenceEnd(_ chunk: UInt64, _ size: UInt64, _ limit: UInt64) -> UInt64? {
        if !arena.isMain && size == 0 { return chunk &+ 16 == limit ? limit : nil }
        guard size == 16, limit &- chunk >= 32, let second = reader.word(chunk &+ 24) else { return nil }
        if arena.isMain { return second & ~7 == 16 ? chunk &+ 32 : nil }
        return second & ~7 == 0 && chunk &+ 32 == limit ? limit : nil
    }

    /// Compares the chunks in bins with the free ones that were met.
    private mutating func compareBins() throws(ArenaFault) {
        let first = arena.address &+ Self.binsOffset
        guard let bins = reader.memory.words(first, count: 254) else { throw .incomplete }
        var listed: [UInt64] = []
        for bin in 0 ..< 127 {
            let head = first &+ UInt64(bin) * 16 &- 16
            var previous = head, chunk = bins[bin * 2]
            while chunk != head {
                guard chunk & 15 == 0, listed.count < free.count,
                    let links = reader.memory.words(chunk &+ 16, count: 2), links[1] == previous
                else { throw .inconsistent(chunk) }
                listed.append(chunk)
                (previous, chunk) = (chunk, links[0])
            }
        }
        listed.sort()
        free.sort()
        guard listed == free else { throw .inconsistent(arena.address) }
        free = []
    }
}

extension AddressMapping {
    /// Whether malloc may have made it for itself.
    var mayBeMallocs: Bool {
        isReadable && isWritable && !isShared && !isFile && (path.isEmpty || path.hasPrefix("[anon"))
    }
}
