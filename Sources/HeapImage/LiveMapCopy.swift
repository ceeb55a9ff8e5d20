// A copy of a running image's live map, taken while the program is stopped and decoded when it runs again. A fork does not
// copy the map, because the image's memory is shared. Room is made before the stop, and several threads copy, because
// the program waits for them. One of the files with raw pointers.
//
// Invariant: after `take` the bytes are those of that moment. Each run of leaves has its own part of the memory, and is
// claimed by one thread.

import CHeapImage
import Glibc
import Synchronization
import SystemPackage
import Text

/// A copy of the live map. Unchecked: see the invariant.
package final class LiveMapCopy: @unchecked Sendable {
    /// Leaves beside one another, and where their bytes are in the copy.
    private struct Run { var leaves: Range<Int>, start: Int, byteCount: Int }

    private let image: HeapImage
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var pieces: [heap_piece] = []
    private var runs: [Run] = []
    private static let mostThreads = 4
    /// Bytes that a thread copies at once.
    private static let runBytes = 256 << 10

    /// - Parameter image: a running one.
    package init(_ image: HeapImage) { self.image = image }

    deinit { release() }

    private func release() { if let start = memory.baseAddress { munmap(start, memory.count) } }

    /// Makes room for the map as it is now and a sixteenth more, while the program runs: memory that was never touched
    /// would cost the stopped program a page fault each time.
    ///
    /// - Complexity: O(live map)
    package func prepare() {
        list()
        let wanted = min(runs.reduce(0) { $0 + $1.byteCount }, Int(clamping: image.source.storedBytes))
        makeRoom(wanted + wanted / 16 + 4 * Self.runBytes, isTouched: true)
    }

    /// Copies the map. The program is stopped or gone.
    ///
    /// - Throws: `InputError` if the image's header can't be read.
    /// - Complexity: O(live map) to copy, divided by the number of processors, 4 at most.
    package func take() throws(InputError) {
        try image.refresh()
        list()
        let wanted = runs.last.map { $0.start + $0.byteCount } ?? 0
        if wanted > memory.count { makeRoom(wanted, isTouched: false) }
        guard wanted <= memory.count else {
            throw InputError(file: image.file, offset: nil, what: "no memory for \(wanted) bytes")
        }
        let next = Atomic(0), copied = Atomic(0)
        onThreads(min(Self.mostThreads, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), runs.count)) { [self] in
            while true {
                let claimed = next.add(1, ordering: .relaxed).oldValue
                guard claimed < runs.count else { return }
                if copy(runs[claimed]) == runs[claimed].byteCount { copied.add(1, ordering: .relaxed) }
            }
        }
        if copied.load(ordering: .relaxed) < runs.count { cutShort() }
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
        let pieceBytes = Int(HEAP_PIECE_BYTES)
        for run in runs {
            var kept = 0
            for leaf in 0 ..< run.byteCount / pieceBytes {
                let piece = pieces[run.leaves.lowerBound + leaf], start = run.start + leaf * pieceBytes
                let raw = UnsafeRawBufferPointer(rebasing: memory[start ..< start + pieceBytes])
                let granule = log2[Int(piece.map)]
                kept =
                    piece.map == HEAP_MAP_FINE
                    ? HeapImage.takeFine(raw, base: piece.base, granuleLog2: granule, into: batch, kept)
                    : HeapImage.takeCoarse(raw, base: piece.base, granuleLog2: granule, into: batch, kept)
            }
            if kept > 0 { body(UnsafeBufferPointer(rebasing: batch[..<kept]).span) }
        }
    }

    /// Lists the leaves in runs. Piece 0 is no leaf.
    private func list() {
        pieces = []
        image.forEachEntry(of: .pieces, as: heap_piece.self) { _, piece in pieces.append(piece) }
        pieces.removeLast(max(0, pieces.count - image.sections[SectionName.slots.rawValue].readableEntries))
        runs = []
        let pieceBytes = Int(HEAP_PIECE_BYTES)
        var end = 0
        for (number, piece) in pieces.enumerated()
        where number > 0 && piece.kind == HEAP_PIECE_LEAF.rawValue && piece.map < HEAP_MAP_COUNT {
            if let last = runs.last, last.leaves.upperBound == number, last.byteCount < Self.runBytes {
                runs[runs.count - 1].leaves = last.leaves.lowerBound ..< number + 1
                runs[runs.count - 1].byteCount += pieceBytes
            } else {
                runs.append(Run(leaves: number ..< number + 1, start: end, byteCount: pieceBytes))
            }
            end += pieceBytes
        }
    }

    private func makeRoom(_ byteCount: Int, isTouched: Bool) {
        release()
        memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (isTouched ? MAP_POPULATE : 0)
        guard let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), start != MAP_FAILED else {
            return
        }
        memory = UnsafeMutableRawBufferPointer(start: start, count: byteCount)
    }

    private func copy(_ run: Run) -> Int {
        let part = UnsafeMutableRawBufferPointer(rebasing: memory[run.start ..< run.start + run.byteCount])
        return (try? image.source.read(into: part, at: image.place(of: .slots, run.leaves.lowerBound))) ?? 0
    }

    /// Notes what can't be read. On one thread, because the image takes the notes.
    private func cutShort() {
        for index in runs.indices {
            let run = runs[index], buffer = ReadBuffer(byteCount: run.byteCount)
            let got = image.fill(buffer, run.byteCount, at: image.place(of: .slots, run.leaves.lowerBound), "SLOTS")
            UnsafeMutableRawBufferPointer(rebasing: memory[run.start ..< run.start + got]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: buffer.bytes[..<got]))
            runs[index].byteCount = got / Int(HEAP_PIECE_BYTES) * Int(HEAP_PIECE_BYTES)
        }
    }
}
