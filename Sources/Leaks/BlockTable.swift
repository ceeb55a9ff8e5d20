// The live blocks of one instant, by address, and the question that a scan asks a billion times: which block does this
// word point into? A bitmap of block starts with ranks answers it in one cache line. One of the files with raw
// pointers.
//
// Invariant: blocks are numbered from 0 in order of address and don't overlap: a block ends at its requested bytes, or
// where the next one begins. An exact pointer is known without looking at the block itself.
//
//     address  47      21 20      10 9     4 3..0
//             +----------+----------+-------+----+
//             | directory| entry    | bit   |    |   under glibc, whose blocks lie 16 bytes apart; 8 elsewhere
//             +----------+----------+-------+----+

import CLeaks
import Glibc
import HeapImage

/// 64 steps of the address space: which of them a block starts at, and how many blocks start before.
struct StartsEntry: BitwiseCopyable {
    var bits: UInt64 = 0
    var rank: UInt32 = 0
    var unused: UInt32 = 0
}

/// What a word points to.
struct Hit: Equatable {
    var block: UInt32
    /// To the block's first byte.
    var isExact: Bool
}

/// All live blocks of a process.
package final class BlockTable {
    /// Blocks that an address can't have, or that stood there twice: not in the table.
    package private(set) var strays = 0
    package private(set) var count = 0
    let starts: UnsafeMutablePointer<UInt64>
    private let sizes: UnsafeMutablePointer<UInt32>
    let stacks: UnsafeMutablePointer<UInt32>
    /// When each was allocated, where that is kept: with its address it names a block for good.
    private let ticks: UnsafeMutablePointer<UInt32>?
    /// Sizes that 32 bits don't hold.
    private var large: [UInt32: UInt64] = [:]
    package private(set) var totalBytes: UInt64 = 0

    /// The lowest address of a block, and how far above it the highest one's end lies.
    private(set) var lowest: UInt64 = 0
    private(set) var span: UInt64 = 0

    private static let keyShift: UInt64 = 21
    private static let inside: UInt32 = 1 << 31
    private let stepShift: UInt64
    private let entryShift: UInt64
    private let entriesPerChunk: Int
    private var firstKey = 0
    private var keyCount = 0
    private var directory: UnsafeMutablePointer<UInt32>
    private var chunks: UnsafeMutablePointer<StartsEntry>
    private var chunkCount = 0

    /// Takes blocks in any order.
    ///
    /// - Parameter granule: at least so many bytes lie between the starts of two blocks: 16 (glibc) or 8.
    /// - Complexity: O(blocks), 16 bytes a block and 16 bytes a KB of heap.
    init(_ blocks: UnsafeBufferPointer<LiveBlock>, granule: Int, keepsTicks: Bool = false) {
        stepShift = granule == 16 ? 4 : 3
        entryShift = stepShift + 6
        entriesPerChunk = 1 << Int(Self.keyShift - entryShift)
        let room = max(blocks.count, 1)
        starts = .allocate(capacity: room)
        sizes = .allocate(capacity: room)
        stacks = .allocate(capacity: room)
        ticks = keepsTicks ? .allocate(capacity: room) : nil
        // Where a program has its blocks is no secret that needs more than 47 bits.
        let limit: UInt64 = 1 << 47
        var low = UInt64.max, high: UInt64 = 0
        for block in blocks where block.address < limit && block.address > 0 {
            low = min(low, block.address)
            high = max(high, min(block.address &+ max(block.bytes, 1), limit))
        }
        guard low < high else {
            guard let zeroes = calloc(1, 4) else { fatalError("no memory for 4 bytes") }
            directory = zeroes.bindMemory(to: UInt32.self, capacity: 1)
            chunks = .allocate(capacity: 1)
            strays = blocks.count { $0.address != 0 }
            return
        }
        firstKey = Int(low >> Self.keyShift)
        keyCount = Int((high - 1) >> Self.keyShift) - firstKey + 1
        // Sparse as the address space is: pages of it that are never used cost nothing.
        guard let zeroes = calloc(keyCount, 4) else { fatalError("no memory for \(keyCount * 4) bytes of a table") }
        directory = zeroes.bindMemory(to: UInt32.self, capacity: keyCount)
        var keys: [Int] = []
        for block in blocks where block.address < limit && block.address > 0 {
            let key = Int(block.address >> Self.keyShift) - firstKey
            if directory[key] == 0 {
                directory[key] = 1
                keys.append(key)
            }
        }
        keys.sort()
        chunkCount = keys.count
        chunks = .allocate(capacity: chunkCount * entriesPerChunk)
        chunks.initialize(repeating: StartsEntry(), count: chunkCount * entriesPerChunk)
        for (number, key) in keys.enumerated() { directory[key] = UInt32(number + 1) }
        for block in blocks where block.address < limit && block.address > 0 {
            place(block.address) { $0.pointee.bits |= $1 }
        }
        var rank: UInt32 = 0
        for index in 0 ..< chunkCount * entriesPerChunk {
            chunks[index].rank = rank
            rank &+= UInt32(chunks[index].bits.nonzeroBitCount)
        }
        count = Int(rank)
        starts.initialize(repeating: 0, count: room)
        for block in blocks where block.address < limit && block.address > 0 {
            place(block.address) { entry, bit in
                let number = Int(entry.pointee.rank) + (entry.pointee.bits & (bit - 1)).nonzeroBitCount
                if starts[number] != 0 { return }
                starts[number] = block.address
                sizes[number] = UInt32(clamping: block.bytes)
                if block.bytes >= UInt64(UInt32.max) { large[UInt32(number)] = block.bytes }
                stacks[number] = block.stack
                ticks?[number] = block.tick
            }
        }
        strays = blocks.count { $0.address != 0 } - count
        for number in 0 ..< count {
            let end = number + 1 < count ? starts[number + 1] : limit
            if starts[number] &+ bytes(number) > end || starts[number] &+ bytes(number) < starts[number] {
                let cut = end - starts[number]
                sizes[number] = UInt32(clamping: cut)
                large[UInt32(number)] = cut >= UInt64(UInt32.max) ? cut : nil
            }
            totalBytes &+= bytes(number)
        }
        coverLargeBlocks()
        lowest = starts[0]
        span = end(count - 1) - lowest
    }

    deinit {
        starts.deallocate()
        sizes.deallocate()
        stacks.deallocate()
        ticks?.deallocate()
        free(directory)
        chunks.deallocate()
    }

    private func place(_ address: UInt64, _ body: (UnsafeMutablePointer<StartsEntry>, UInt64) -> Void) {
        let chunk = Int(directory[Int(address >> Self.keyShift) - firstKey]) - 1
        let entry = chunk * entriesPerChunk + Int(address >> entryShift) & (entriesPerChunk - 1)
        body(chunks + entry, 1 << (address >> stepShift & 63))
    }

    // A part of the address space in which no block starts, and that one reaches over, says which.
    private func coverLargeBlocks() {
        for number in 0 ..< count where bytes(number) > 0 {
            let first = Int(starts[number] >> Self.keyShift) - firstKey,
                last = Int((end(number) - 1) >> Self.keyShift) - firstKey
            guard last > first else { continue }
            for key in first + 1 ... last where directory[key] == 0 { directory[key] = Self.inside | UInt32(number) }
        }
    }

    /// Requested bytes of a block.
    @inline(__always) package func bytes(_ number: Int) -> UInt64 {
        let size = sizes[number]
        return size == .max ? large[UInt32(number)] ?? UInt64(size) : UInt64(size)
    }

    @inline(__always) package func start(_ number: Int) -> UInt64 { starts[number] }
    package func stack(_ number: Int) -> UInt32 { stacks[number] }
    /// When a block was allocated; nil where the snapshot was not told to keep that.
    package func tick(_ number: Int) -> UInt32? { ticks?[number] }
    /// One past the last byte; a block of 0 bytes still has its address.
    @inline(__always) func end(_ number: Int) -> UInt64 { starts[number] &+ max(bytes(number), 1) }

    /// Whether a word can point to a block at all.
    @inline(__always) func mayPoint(_ word: UInt64) -> Bool { word &- lowest < span }

    /// Brings the line that `hit` will ask for.
    @inline(__always) func prefetch(_ word: UInt64) {
        let chunk = directory[Int(word >> Self.keyShift) &- firstKey]
        if chunk != 0 && chunk & Self.inside == 0 {
            leaks_prefetch(
                chunks + (Int(chunk &- 1) &* entriesPerChunk &+ Int(word >> entryShift) & (entriesPerChunk &- 1)))
        }
    }

    /// The block that a word for which `mayPoint` holds points into; nil where it points between blocks.
    @inline(__always) func hit(_ word: UInt64) -> Hit? {
        let chunk = directory[Int(word >> Self.keyShift) &- firstKey]
        if chunk == 0 { return nil }
        let number: UInt32
        if chunk & Self.inside != 0 {
            number = chunk & ~Self.inside
        } else {
            let entry = chunks[Int(chunk &- 1) &* entriesPerChunk &+ Int(word >> entryShift) & (entriesPerChunk &- 1)]
            let bit: UInt64 = 1 << (word >> stepShift & 63)
            let upTo = entry.bits & (bit | (bit &- 1))
            let following = entry.rank &+ UInt32(truncatingIfNeeded: upTo.nonzeroBitCount)
            if following == 0 { return nil }
            number = following &- 1
            if upTo & bit != 0 && word & ((1 << stepShift) &- 1) == 0 { return Hit(block: number, isExact: true) }
        }
        guard word < end(Int(number)) else { return nil }
        return Hit(block: number, isExact: word == starts[Int(number)])
    }

    /// The block that holds an address.
    package func block(at address: UInt64) -> Int? {
        count > 0 && mayPoint(address) ? hit(address).map { Int($0.block) } : nil
    }

    /// The number of the first block that starts at an address or after it.
    func firstBlock(from address: UInt64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if starts[middle] < address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
