// Reads the live blocks of a running image twice: first while the program runs, then quickly while it is stopped. The
// second reading decodes only the pieces that have changed, which it finds by a hash of each piece, because the stopped
// program waits for it. One of the files with raw pointers.
//
// Invariant: after `finish` the blocks are those of that moment, with the blocks of reallocations in flight first. If
// such a block is also in its slot, it is there twice, with the same address.

import CHeapImage
import Glibc
import Text

/// Reads the blocks of a running image.
package final class BlockReader {
    private let image: HeapImage
    private var blocks: UnsafeMutablePointer<LiveBlock>
    private var capacity: Int
    /// Blocks in the buffer, including those taken back, whose address is 0.
    package private(set) var count = 0
    /// For each piece, the hash of its bytes and where its blocks are in the buffer.
    private var hashes: [UInt64] = []
    private var places: [Range<Int>] = []
    /// Pieces that had to be decoded again.
    package private(set) var changedPieces = 0
    private let buffer = ReadBuffer(byteCount: chunkBytes)

    /// - Parameter image: a running one.
    package init(_ image: HeapImage) {
        self.image = image
        // No more than a billion blocks is believed.
        capacity = Int(min(image.header.live_blocks, 1 << 30)) * 17 / 16 + 4096
        blocks = .allocate(capacity: capacity)
    }

    deinit { blocks.deallocate() }

    /// The first reading, while the program runs.
    ///
    /// - Complexity: O(live map)
    package func prepare() { read() }

    /// The reading that counts: the program is stopped or gone.
    ///
    /// - Complexity: O(live map) to hash, most of it for copying; O(changed pieces) to decode.
    package func finish() throws(InputError) {
        try image.refresh()
        changedPieces = 0
        read()
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

    private func read() {
        var pieces: [heap_piece] = []
        image.forEachEntry(of: .pieces, as: heap_piece.self) { _, piece in pieces.append(piece) }
        let slots = image.sections[SectionName.slots.rawValue], pieceBytes = Int(HEAP_PIECE_BYTES)
        let end = min(pieces.count, slots.readableEntries)
        if hashes.count < end {
            hashes += repeatElement(0, count: end - hashes.count)
            places += repeatElement(0 ..< 0, count: end - places.count)
        }
        let log2 = withUnsafeBytes(of: image.header.granule_log2) { Array($0) }
        func isLeaf(_ piece: Int) -> Bool {
            pieces[piece].kind == HEAP_PIECE_LEAF.rawValue && pieces[piece].map < HEAP_MAP_COUNT
        }
        var piece = 1
        while piece < end {
            let first = piece
            while piece < end && isLeaf(piece) && piece - first < chunkBytes / pieceBytes { piece += 1 }
            if piece == first {
                piece += 1
                continue
            }
            let got = image.fill(buffer, (piece - first) * pieceBytes, at: image.place(of: .slots, first), "SLOTS")
            for leaf in 0 ..< got / pieceBytes {
                let raw = UnsafeRawBufferPointer(rebasing: buffer.bytes[leaf * pieceBytes ..< (leaf + 1) * pieceBytes])
                take(
                    raw, number: first + leaf, pieces[first + leaf],
                    granuleLog2: UInt64(log2[Int(pieces[first + leaf].map)]))
            }
        }
    }

    private func take(_ raw: UnsafeRawBufferPointer, number: Int, _ piece: heap_piece, granuleLog2: UInt64) {
        let hash = Self.hash(raw)
        if hashes[number] == hash { return }
        hashes[number] = hash
        changedPieces += 1
        for index in places[number] { blocks[index].address = 0 }
        reserve(raw.count / 8)
        let batch = UnsafeMutableBufferPointer(start: blocks, count: capacity), start = count
        count =
            piece.map == HEAP_MAP_FINE
            ? HeapImage.takeFine(raw, base: piece.base, granuleLog2: granuleLog2, into: batch, start)
            : HeapImage.takeCoarse(raw, base: piece.base, granuleLog2: granuleLog2, into: batch, start)
        places[number] = start ..< count
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
