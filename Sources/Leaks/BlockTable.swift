// The live blocks of one instant, by address. A scan asks a billion times: which block does this word point into? A
// bitmap of block starts with ranks answers that from one cache line. One of the files with raw pointers.
//
// Invariant: blocks are numbered from 0 in order of address and don't overlap: a block ends after its requested bytes,
// or where the next one begins. The bitmap alone recognises a pointer to a block's start.
//
//     address  47      21 20      10 9     4 3..0
//             +----------+----------+-------+----+
//             | directory| entry    | bit   |    |   under glibc, whose blocks lie 16 bytes apart; 8 elsewhere
//             +----------+----------+-------+----+

import CLeaks
import Glibc
import HeapImage

/// For 64 steps of the address space: a bit for each step at which a block starts, and the number of blocks that start
/// before them.
struct StartsEntry: BitwiseCopyable {
    var bits: UInt64 = 0
    var rank: UInt32 = 0
    var unused: UInt32 = 0
}

/// Entries for the parts of the address space in which blocks start, as they are met: 2 MB each, for steps of 16 bytes.
private struct ChunkNumbers {
    let entriesPerChunk: Int
    /// The first entry of each part.
    private(set) var ofKeys: [UInt64: Int] = [:]
    private(set) var entries: UnsafeMutablePointer<StartsEntry>
    private var count = 0
    private var room: Int
    private var last = (key: UInt64.max, chunk: 0)

    init(entriesPerChunk: Int) {
        self.entriesPerChunk = entriesPerChunk
        room = 16 * entriesPerChunk
        entries = .allocate(capacity: room)
    }

    /// Whoever takes `entries` at the end deallocates them.
    @inline(__always) mutating func chunk(_ key: UInt64) -> Int {
        if key == last.key { return last.chunk }
        if let known = ofKeys[key] {
            last = (key, known)
            return known
        }
        return add(key)
    }

    private mutating func add(_ key: UInt64) -> Int {
        if count + entriesPerChunk > room {
            let grown = UnsafeMutablePointer<StartsEntry>.allocate(capacity: room * 2)
            grown.moveInitialize(from: entries, count: count)
            entries.deallocate()
            (entries, room) = (grown, room * 2)
        }
        (entries + count).initialize(repeating: StartsEntry(), count: entriesPerChunk)
        last = (key, count)
        ofKeys[key] = count
        count += entriesPerChunk
        return last.chunk
    }
}

/// The block that a word points to.
struct Hit: Equatable {
    var block: UInt32
    /// Whether it points to the block's first byte.
    var isExact: Bool
}

/// All live blocks of a process.
package final class BlockTable {
    /// Blocks left out of the table: their address is impossible, or was listed twice.
    package private(set) var strays = 0
    package private(set) var count = 0
    let starts: UnsafeMutablePointer<UInt64>
    private let sizes: UnsafeMutablePointer<UInt32>
    let stacks: UnsafeMutablePointer<UInt32>
    /// The tick at which each block was allocated, if kept. Address and tick together identify a block for good.
    private let ticks: UnsafeMutablePointer<UInt32>?
    /// Sizes that 32 bits don't hold.
    private var large: [UInt32: UInt64] = [:]
    package private(set) var totalBytes: UInt64 = 0

    /// The lowest block's address, and the distance from there to the end of the highest block.
    private(set) var lowest: UInt64 = 0
    private(set) var span: UInt64 = 0

    /// The stack of blocks from before the recording: none. No image has so many stacks.
    package static let earlierStack = UInt32.max

    /// User addresses have 47 bits on x86-64, and 48 on AArch64.
    private static let limit: UInt64 = 1 << 48
    private static let keyShift: UInt64 = 21
    private static let inside: UInt32 = 1 << 31
    private let stepShift: UInt64
    private let entryShift: UInt64
    private let entriesPerChunk: Int
    private var firstKey = 0
    private var keyCount = 0
    private var directory: UnsafeMutablePointer<UInt32>
    private var chunks: UnsafeMutablePointer<StartsEntry>

    /// Accepts blocks in any order. Of two with one address the first counts.
    ///
    /// - Parameters:
    ///   - granule: the least distance between the starts of two blocks: 16 (glibc) or 8 bytes.
    ///   - forEachBlock: passes all blocks to its argument; called twice. What it passes only later is left out.
    /// - Complexity: O(blocks), 16 bytes a block and 16 bytes a KB of heap.
    init(granule: Int, keepsTicks: Bool, _ forEachBlock: ((Span<LiveBlock>) -> Void) -> Void) {
        let stepShift: UInt64 = granule == 16 ? 4 : 3, entryShift = stepShift + 6
        let entriesPerChunk = 1 << Int(Self.keyShift - entryShift)
        (self.stepShift, self.entryShift, self.entriesPerChunk) = (stepShift, entryShift, entriesPerChunk)
        var low = UInt64.max, high: UInt64 = 0, passed = 0, possible = 0
        var numbers = ChunkNumbers(entriesPerChunk: entriesPerChunk)
        forEachBlock { blocks in
            for index in blocks.indices where blocks[index].address != 0 {
                let block = blocks[index]
                passed += 1
                guard block.address < Self.limit else { continue }
                possible += 1
                low = min(low, block.address)
                high = max(high, min(block.address &+ max(block.bytes, 1), Self.limit))
                let chunk = numbers.chunk(block.address >> Self.keyShift)
                numbers.entries[chunk + Int(block.address >> entryShift) & (entriesPerChunk - 1)].bits |=
                    1 << (block.address >> stepShift & 63)
            }
        }
        chunks = numbers.entries
        let room = max(possible, 1)
        starts = .allocate(capacity: room)
        sizes = .allocate(capacity: room)
        stacks = .allocate(capacity: room)
        ticks = keepsTicks ? .allocate(capacity: room) : nil
        guard low < high else {
            guard let zeroes = calloc(1, 4) else { fatalError("no memory for 4 bytes") }
            directory = zeroes.bindMemory(to: UInt32.self, capacity: 1)
            strays = passed
            return
        }
        firstKey = Int(low >> Self.keyShift)
        keyCount = Int((high - 1) >> Self.keyShift) - firstKey + 1
        // The table is sparse, like the address space: unused pages cost nothing.
        guard let zeroes = calloc(keyCount, 4) else { fatalError("no memory for \(keyCount * 4) bytes of a table") }
        directory = zeroes.bindMemory(to: UInt32.self, capacity: keyCount)
        var rank: UInt32 = 0
        for (key, chunk) in numbers.ofKeys.sorted(by: { $0.key < $1.key }) {
            directory[Int(key) - firstKey] = UInt32(chunk / entriesPerChunk + 1)
            for entry in chunk ..< chunk + entriesPerChunk {
                chunks[entry].rank = rank
                rank &+= UInt32(chunks[entry].bits.nonzeroBitCount)
            }
        }
        count = min(Int(rank), room)
        starts.initialize(repeating: 0, count: room)
        sizes.initialize(repeating: 0, count: room)
        stacks.initialize(repeating: 0, count: room)
        ticks?.initialize(repeating: 0, count: room)
        var taken = 0
        forEachBlock { blocks in
            for index in blocks.indices {
                let block = blocks[index]
                place(block.address) { entry, bit in
                    let number = Int(entry.pointee.rank) + (entry.pointee.bits & (bit - 1)).nonzeroBitCount
                    if entry.pointee.bits & bit == 0 || number >= count || starts[number] != 0 { return }
                    taken += 1
                    starts[number] = block.address
                    sizes[number] = UInt32(clamping: block.bytes)
                    if block.bytes >= UInt64(UInt32.max) { large[UInt32(number)] = block.bytes }
                    stacks[number] = block.stack
                    ticks?[number] = block.tick
                }
            }
        }
        strays = passed - count
        if taken < count { takeVanished() }
        for number in 0 ..< count {
            let end = number + 1 < count ? starts[number + 1] : Self.limit
            if starts[number] &+ bytes(number) > end || starts[number] &+ bytes(number) < starts[number] {
                let cut = end - starts[number]
                sizes[number] = UInt32(clamping: cut)
                large[UInt32(number)] = cut >= UInt64(UInt32.max) ? cut : nil
            }
            totalBytes &+= bytes(number)
        }
        coverLargeBlocks()
        lowest = starts[0]
        span = pointerEnd(count - 1) - lowest
    }

    deinit {
        starts.deallocate()
        sizes.deallocate()
        stacks.deallocate()
        ticks?.deallocate()
        free(directory)
        chunks.deallocate()
    }

    /// Calls `body` with the entry and the bit of a block's start, unless the first pass did not see the block.
    @inline(__always)
    private func place(_ address: UInt64, _ body: (UnsafeMutablePointer<StartsEntry>, UInt64) -> Void) {
        let key = Int(address >> Self.keyShift) - firstKey
        guard key >= 0, key < keyCount, directory[key] != 0 else { return }
        let chunk = Int(directory[key]) - 1
        let entry = chunk * entriesPerChunk + Int(address >> entryShift) & (entriesPerChunk - 1)
        body(chunks + entry, 1 << (address >> stepShift & 63))
    }

    // A file that changes meanwhile may pass a block only at first: it stays, with 0 bytes.
    private func takeVanished() {
        for key in 0 ..< keyCount where directory[key] != 0 {
            let first = (Int(directory[key]) - 1) * entriesPerChunk
            for entry in first ..< first + entriesPerChunk {
                var number = Int(chunks[entry].rank), bits = chunks[entry].bits
                while bits != 0 && number < count {
                    if starts[number] == 0 {
                        starts[number] =
                            UInt64(firstKey + key) << Self.keyShift | UInt64(entry - first) << entryShift
                            | UInt64(bits.trailingZeroBitCount) << stepShift
                    }
                    number += 1
                    bits &= bits - 1
                }
            }
        }
    }

    // Stores, for each part of the address space in which no block starts, the block that covers it, if any.
    private func coverLargeBlocks() {
        for number in 0 ..< count where bytes(number) > 0 {
            let first = Int(starts[number] >> Self.keyShift) - firstKey,
                last = Int((end(number) - 1) >> Self.keyShift) - firstKey
            guard last > first else { continue }
            for key in first + 1 ... last where directory[key] == 0 { directory[key] = Self.inside | UInt32(number) }
        }
    }

    /// A block's requested bytes.
    @inline(__always) package func bytes(_ number: Int) -> UInt64 {
        let size = sizes[number]
        return size == .max ? large[UInt32(number)] ?? UInt64(size) : UInt64(size)
    }

    @inline(__always) package func start(_ number: Int) -> UInt64 { starts[number] }
    package func stack(_ number: Int) -> UInt32 { stacks[number] }
    /// The tick at which a block was allocated; nil if the snapshot did not keep ticks.
    package func tick(_ number: Int) -> UInt32? { ticks?[number] }
    /// One past the last byte. A block of 0 bytes counts as one byte.
    @inline(__always) func end(_ number: Int) -> UInt64 { starts[number] &+ max(bytes(number), 1) }

    /// One past the last address that may be a pointer into the block. Behind 8 bytes this is one more: the block may
    /// be an array of no objects, whose address lies behind its count.
    @inline(__always) private func pointerEnd(_ number: Int) -> UInt64 {
        let size = bytes(number)
        return starts[number] &+ (size == 8 ? 9 : max(size, 1))
    }

    /// Whether a word lies between the lowest and the highest block.
    @inline(__always) func mayPoint(_ word: UInt64) -> Bool { word &- lowest < span }

    /// Prefetches the cache line that `hit` will read.
    @inline(__always) func prefetch(_ word: UInt64) {
        let chunk = directory[Int(word >> Self.keyShift) &- firstKey]
        if chunk != 0 && chunk & Self.inside == 0 {
            leaks_prefetch(
                chunks + (Int(chunk &- 1) &* entriesPerChunk &+ Int(word >> entryShift) & (entriesPerChunk &- 1)))
        }
    }

    /// The block that a word points into, or right behind if the block has 8 bytes; nil if it points between blocks.
    /// `mayPoint` must hold for the word.
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
        guard word < pointerEnd(Int(number)) else { return nil }
        return Hit(block: number, isExact: word == starts[Int(number)])
    }

    /// The block that holds an address.
    package func block(at address: UInt64) -> Int? {
        guard count > 0, mayPoint(address), let number = hit(address).map({ Int($0.block) }) else { return nil }
        return address < end(number) ? number : nil
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
