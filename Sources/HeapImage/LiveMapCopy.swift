// A copy of a running image's live map as it is while the program is stopped. A fork does not copy the map, because
// the image's memory is shared. The program waits for the copy, so most is copied before the stop; during it several
// threads read the map again, and copy the leaves that have changed, which they find by a hash of each. Decoding comes
// later. One of the files with raw pointers.
//
// Invariant: after `take` the bytes are those of that moment. Each leaf has a part of the memory and a hash of its own,
// and is in one run; each run is claimed by one thread, and only that thread touches both.

import CHeapImage
import Glibc
import Synchronization
import SystemPackage
import Text

/// A copy of the live map. Unchecked: see the invariant.
package final class LiveMapCopy: @unchecked Sendable {
    private let image: HeapImage
    private var pieces: [heap_piece] = []
    /// Leaves beside one another, as many as a thread reads at once.
    private var runs: [Range<Int>] = []
    /// For each piece that is a leaf, the number of its part of the memory; -1: it has none.
    private var parts: [Int] = []
    private var partCount = 0
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// For each part, the hash of its bytes; 0: nothing was copied yet.
    private var hashes: UnsafeMutablePointer<UInt64>
    private var hashCount = 0
    private static let mostThreads = 4
    private static let runBytes = 256 << 10
    private static let leafBytes = Int(HEAP_PIECE_BYTES)

    /// - Parameter image: a running one.
    package init(_ image: HeapImage) {
        self.image = image
        hashes = .allocate(capacity: 1)
    }

    deinit {
        if let start = memory.baseAddress { munmap(start, memory.count) }
        hashes.deallocate()
    }

    /// Copies the map while the program runs.
    ///
    /// - Complexity: O(live map)
    package func prepare() { copy(threads: 1) }

    /// Copies what has changed. The program is stopped or gone.
    ///
    /// - Throws: `InputError` if the image's header can't be read, or there is no memory.
    /// - Complexity: O(live map) to read and hash, divided by the number of processors, 4 at most.
    package func take() throws(InputError) {
        try image.refresh()
        copy(threads: min(Self.mostThreads, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
        guard partCount * Self.leafBytes <= memory.count else {
            throw InputError(file: image.file, offset: nil, what: "no memory for \(partCount * Self.leafBytes) bytes")
        }
    }

    /// Passes the blocks to `body`: those of reallocations in flight first. If such a block is also in the map, it is
    /// passed twice, with the same address.
    ///
    /// - Complexity: O(live map)
    package func forEachBlock(inFlight: [LiveBlock], _ body: (Span<LiveBlock>) -> Void) {
        if !inFlight.isEmpty { body(inFlight.span) }
        let log2 = withUnsafeBytes(of: image.header.granule_log2) { $0.map(UInt64.init) }
        let batch = UnsafeMutableBufferPointer<LiveBlock>.allocate(
            capacity: Self.runBytes / Int(heap_map_slot_bytes(HEAP_MAP_FINE)))
        defer { batch.deallocate() }
        for run in runs {
            var kept = 0
            for leaf in run where hashes[parts[leaf]] != 0 {
                let piece = pieces[leaf], granule = log2[Int(piece.map)], raw = UnsafeRawBufferPointer(part(of: leaf))
                kept =
                    piece.map == HEAP_MAP_FINE
                    ? HeapImage.takeFine(raw, base: piece.base, granuleLog2: granule, into: batch, kept)
                    : HeapImage.takeCoarse(raw, base: piece.base, granuleLog2: granule, into: batch, kept)
            }
            if kept > 0 { body(UnsafeBufferPointer(rebasing: batch[..<kept]).span) }
        }
    }

    private func part(of leaf: Int) -> UnsafeMutableRawBufferPointer {
        let start = parts[leaf] * Self.leafBytes
        return UnsafeMutableRawBufferPointer(rebasing: memory[start ..< start + Self.leafBytes])
    }

    private func copy(threads: Int) {
        listLeaves()
        guard makeRoom() else { return }
        let next = Atomic(0), short = Atomic(0)
        onThreads(min(threads, runs.count)) { [self] in
            let buffer = ReadBuffer(byteCount: Self.runBytes)
            while true {
                let claimed = next.add(1, ordering: .relaxed).oldValue
                guard claimed < runs.count else { return }
                let run = runs[claimed], wanted = run.count * Self.leafBytes
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<wanted])
                let got = (try? image.source.read(into: part, at: image.place(of: .slots, run.lowerBound))) ?? 0
                if got < wanted { short.add(1, ordering: .relaxed) }
                take(buffer, got, run)
            }
        }
        if short.load(ordering: .relaxed) > 0 { noteWhatIsMissing() }
    }

    /// Copies the leaves of a run that have changed.
    private func take(_ buffer: borrowing ReadBuffer, _ byteCount: Int, _ run: Range<Int>) {
        for index in 0 ..< byteCount / Self.leafBytes {
            let start = index * Self.leafBytes, leaf = run.lowerBound + index
            let raw = UnsafeRawBufferPointer(rebasing: buffer.bytes[start ..< start + Self.leafBytes])
            let hash = Self.hash(raw)
            if hashes[parts[leaf]] == hash { continue }
            hashes[parts[leaf]] = hash
            part(of: leaf).copyMemory(from: raw)
        }
    }

    /// Lists the leaves. Piece 0 is none.
    private func listLeaves() {
        pieces = []
        image.forEachEntry(of: .pieces, as: heap_piece.self) { _, piece in pieces.append(piece) }
        pieces.removeLast(max(0, pieces.count - image.sections[SectionName.slots.rawValue].readableEntries))
        if parts.count < pieces.count { parts += repeatElement(-1, count: pieces.count - parts.count) }
        runs = []
        for (number, piece) in pieces.enumerated()
        where number > 0 && piece.kind == HEAP_PIECE_LEAF.rawValue && piece.map < HEAP_MAP_COUNT {
            if parts[number] < 0 {
                parts[number] = partCount
                partCount += 1
            }
            if let last = runs.last, last.upperBound == number, last.count < Self.runBytes / Self.leafBytes {
                runs[runs.count - 1] = last.lowerBound ..< number + 1
            } else {
                runs.append(number ..< number + 1)
            }
        }
    }

    /// Makes room for all leaves, and some more.
    private func makeRoom() -> Bool {
        let wanted = partCount * Self.leafBytes
        if wanted <= memory.count { return true }
        let byteCount = wanted + wanted / 16 + 4 * Self.runBytes
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
            return false
        }
        let grown = UnsafeMutableRawBufferPointer(start: start, count: byteCount)
        if let older = memory.baseAddress {
            grown.copyMemory(from: UnsafeRawBufferPointer(memory))
            munmap(older, memory.count)
        }
        memory = grown
        let room = byteCount / Self.leafBytes, larger = UnsafeMutablePointer<UInt64>.allocate(capacity: room)
        larger.initialize(repeating: 0, count: room)
        larger.update(from: hashes, count: hashCount)
        hashes.deallocate()
        (hashes, hashCount) = (larger, room)
        return true
    }

    /// On one thread, because the image takes the notes.
    private func noteWhatIsMissing() {
        let buffer = ReadBuffer(byteCount: Self.runBytes)
        for run in runs {
            let wanted = run.count * Self.leafBytes
            take(buffer, image.fill(buffer, wanted, at: image.place(of: .slots, run.lowerBound), "SLOTS"), run)
        }
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
