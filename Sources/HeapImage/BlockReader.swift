// Reads the live blocks of a running image twice: first while the program runs, then quickly while it is stopped. The
// second reading decodes only the pieces that have changed, which it finds by a hash of each piece, on several threads,
// because the stopped program waits for it. One of the files with raw pointers.
//
// Invariant: after `finish` the blocks are those of that moment, with the blocks of reallocations in flight first. If
// such a block is also in its slot, it is there twice, with the same address. Each piece is in one run, and each run is
// claimed by one thread: only that thread touches the piece's hash. The blocks change under the lock.

import CHeapImage
import Glibc
import Synchronization
import SystemPackage
import Text

/// Reads the blocks of a running image. Unchecked: see the invariant.
package final class BlockReader: @unchecked Sendable {
    private let image: HeapImage
    private var blocks: UnsafeMutablePointer<LiveBlock>
    private var capacity: Int
    /// Blocks in the buffer, including those taken back, whose address is 0.
    package private(set) var count = 0
    /// For each piece, the hash of its bytes and where its blocks are in the buffer.
    private var hashes = UnsafeMutableBufferPointer<UInt64>(start: nil, count: 0)
    private var places: [Range<Int>] = []
    /// Pieces that had to be decoded again.
    package private(set) var changedPieces = 0
    private let lock = Mutex(())
    private static let mostThreads = 4
    /// Bytes that a thread reads at once.
    private static let runBytes = 256 << 10

    /// - Parameter image: a running one.
    package init(_ image: HeapImage) {
        self.image = image
        // No more than a billion blocks is believed.
        capacity = Int(min(image.header.live_blocks, 1 << 30)) * 17 / 16 + 4096
        blocks = .allocate(capacity: capacity)
    }

    deinit {
        blocks.deallocate()
        hashes.deallocate()
    }

    /// The first reading, while the program runs.
    ///
    /// - Complexity: O(live map)
    package func prepare() { read(threads: 1) }

    /// The reading that counts: the program is stopped or gone.
    ///
    /// - Complexity: O(live map) to hash, most of it for copying, divided by the number of processors (4 at most);
    ///   O(changed pieces) to decode.
    package func finish() throws(InputError) {
        try image.refresh()
        changedPieces = 0
        read(threads: min(Self.mostThreads, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }

    /// Passes what was read to `body`, with the blocks of reallocations in flight first.
    package func withBlocks<Result>(inFlight: [LiveBlock], _ body: (UnsafeBufferPointer<LiveBlock>) -> Result) -> Result
    {
        if !inFlight.isEmpty {
            reserve(inFlight.count)
            memmove(blocks + inFlight.count, blocks, count * MemoryLayout<LiveBlock>.stride)
            for (index, block) in inFlight.enumerated() { blocks[index] = block }
            count += inFlight.count
        }
        return body(UnsafeBufferPointer(start: blocks, count: count))
    }

    private func reserve(_ more: Int) {
        guard count + more > capacity else { return }
        capacity = max(capacity * 3 / 2, count + more)
        let grown = UnsafeMutablePointer<LiveBlock>.allocate(capacity: capacity)
        grown.moveInitialize(from: blocks, count: count)
        blocks.deallocate()
        blocks = grown
    }

    private func read(threads: Int) {
        var pieces: [heap_piece] = []
        image.forEachEntry(of: .pieces, as: heap_piece.self) { _, piece in pieces.append(piece) }
        let end = min(pieces.count, image.sections[SectionName.slots.rawValue].readableEntries)
        growHashes(end)
        let runs = Self.runsOfLeaves(pieces[..<end]), described = pieces, next = Atomic(0)
        let log2 = withUnsafeBytes(of: image.header.granule_log2) { $0.map(UInt64.init) }
        onThreads(min(threads, runs.count)) { [self] in
            let buffer = ReadBuffer(byteCount: Self.runBytes)
            let batch = UnsafeMutableBufferPointer<LiveBlock>.allocate(
                capacity: Self.runBytes / Int(heap_map_slot_bytes(HEAP_MAP_FINE)))
            defer { batch.deallocate() }
            while true {
                let claimed = next.add(1, ordering: .relaxed).oldValue
                guard claimed < runs.count else { return }
                read(runs[claimed], of: described, granuleLog2: log2, buffer, batch)
            }
        }
    }

    private func growHashes(_ count: Int) {
        guard hashes.count < count else { return }
        let grown = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: count)
        grown.initialize(repeating: 0)
        for index in hashes.indices { grown[index] = hashes[index] }
        hashes.deallocate()
        hashes = grown
        places += repeatElement(0 ..< 0, count: count - places.count)
    }

    /// Leaves beside one another, as many as a thread reads at once. Piece 0 is no leaf.
    private static func runsOfLeaves(_ pieces: ArraySlice<heap_piece>) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for (number, piece) in zip(pieces.indices, pieces)
        where number > 0 && piece.kind == HEAP_PIECE_LEAF.rawValue && piece.map < HEAP_MAP_COUNT {
            if let last = runs.last, last.upperBound == number, last.count < runBytes / Int(HEAP_PIECE_BYTES) {
                runs[runs.count - 1] = last.lowerBound ..< number + 1
            } else {
                runs.append(number ..< number + 1)
            }
        }
        return runs
    }

    /// A thread's work: reads a run, and decodes the leaves whose hash has changed.
    private func read(
        _ run: Range<Int>, of pieces: [heap_piece], granuleLog2: [UInt64], _ buffer: borrowing ReadBuffer,
        _ batch: UnsafeMutableBufferPointer<LiveBlock>
    ) {
        let pieceBytes = Int(HEAP_PIECE_BYTES), wanted = run.count * pieceBytes
        let offset = image.place(of: .slots, run.lowerBound)
        let whole = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<wanted])
        var got = (try? image.source.read(into: whole, at: offset)) ?? 0
        // The image takes the note of what is missing, and is one thread's at a time.
        if got < wanted { got = lock.withLock { _ in image.fill(buffer, wanted, at: offset, "SLOTS") } }
        var changed: [(leaf: Int, blocks: Range<Int>)] = [], kept = 0
        for leaf in 0 ..< got / pieceBytes {
            let raw = UnsafeRawBufferPointer(rebasing: buffer.bytes[leaf * pieceBytes ..< (leaf + 1) * pieceBytes])
            let number = run.lowerBound + leaf, piece = pieces[number], hash = Self.hash(raw), start = kept
            if hashes[number] == hash { continue }
            hashes[number] = hash
            let granule = granuleLog2[Int(piece.map)]
            kept =
                piece.map == HEAP_MAP_FINE
                ? HeapImage.takeFine(raw, base: piece.base, granuleLog2: granule, into: batch, start)
                : HeapImage.takeCoarse(raw, base: piece.base, granuleLog2: granule, into: batch, start)
            changed.append((number, start ..< kept))
        }
        guard !changed.isEmpty else { return }
        lock.withLock { _ in replace(changed, by: batch, count: kept) }
    }

    private func replace(
        _ changed: [(leaf: Int, blocks: Range<Int>)], by batch: UnsafeMutableBufferPointer<LiveBlock>, count added: Int
    ) {
        reserve(added)
        for (leaf, range) in changed {
            for index in places[leaf] { blocks[index].address = 0 }
            places[leaf] = count + range.lowerBound ..< count + range.upperBound
        }
        if let start = batch.baseAddress { (blocks + count).update(from: start, count: added) }
        count += added
        changedPieces += changed.count
    }

    // A 64-bit hash, in four independent lanes. Never 0, which means that a piece was not read yet.
    private static func hash(_ raw: UnsafeRawBufferPointer) -> UInt64 {
        guard let base = raw.baseAddress else { return 1 }
        let prime: UInt64 = 0x9E37_79B9_7F4A_7C15
        var (a, b, c, d): (UInt64, UInt64, UInt64, UInt64) = (1, 2, 3, 4)
        var at = 0
        while at &+ 32 <= raw.count {
            a = (a ^ (base + at).load(as: UInt64.self)) &* prime
            b = (b ^ (base + at + 8).load(as: UInt64.self)) &* prime
            c = (c ^ (base + at + 16).load(as: UInt64.self)) &* prime
            d = (d ^ (base + at + 24).load(as: UInt64.self)) &* prime
            // The highest bits are mixed best. They are shifted down, so that each bit of a word affects the whole
            // lane.
            a ^= a >> 29
            b ^= b >> 29
            c ^= c >> 29
            d ^= d >> 29
            at &+= 32
        }
        var sum = a
        for lane in [b, c, d] {
            sum = (sum ^ lane) &* prime
            sum ^= sum >> 32
        }
        return sum == 0 ? 1 : sum
    }
}
