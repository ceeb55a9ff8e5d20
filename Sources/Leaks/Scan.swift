// One pass over all memory that may hold pointers: roots first, then blocks in order of address. Each aligned word is
// compared with the heap's span. Words inside wait in a queue while their cache lines are prefetched, and are looked up
// in batches. One of the files with raw pointers.
//
// Invariant: the edges of each block are stored together, in the blocks' order.

import CLeaks
import Glibc

/// A pointer to a block from outside all blocks.
struct RootReference {
    var block: UInt32
    var root: UInt32
    /// The pointer's address; 0: it is not in memory, and `place` says where it is.
    var address: UInt64
    var value: UInt64
    var isExact: Bool
    var place: String = ""
}

/// The progress of a scan.
package struct ScanProgress {
    /// Bytes read so far.
    package var scannedBytes: UInt64 = 0
    /// Bytes done so far, including pages that were never written and are skipped.
    package var passedBytes: UInt64 = 0
    /// nil while the roots are scanned: not known yet.
    package var totalBytes: UInt64?
}

/// What a scan found.
final class Scan {
    let snapshot: Snapshot
    let table: BlockTable
    let roots: Roots
    private(set) var references: [RootReference] = []
    /// For each block, 1 + the number of its best reference; 0: none.
    let referenceOf: UnsafeMutablePointer<UInt32>
    /// Interior references to blocks that have no better one.
    private(set) var interior: [UInt32] = []

    /// Edges of block i are [edgeStart[i], edgeStart[i + 1]).
    let edgeStart: UnsafeMutablePointer<UInt32>
    private(set) var edges: UnsafeMutablePointer<UInt32>
    private var edgeCapacity = 1 << 16
    private(set) var edgeCount = 0
    /// A flag of an edge: it is an interior pointer.
    static let interiorEdge: UInt32 = 1 << 31

    private(set) var scannedBytes: UInt64 = 0
    /// Ranges that could not be read.
    private(set) var unread: [Range<UInt64>] = []
    private let progress: ((ScanProgress) -> Void)?
    private var passedBytes: UInt64 = 0
    private var totalBytes: UInt64?

    private static let windowBytes = 1 << 20
    private static let batch = 256
    private let window: UnsafeMutableRawBufferPointer
    private let queuedWords: UnsafeMutablePointer<UInt64>
    private let queuedSources: UnsafeMutablePointer<UInt64>
    private var queued = 0

    init(_ snapshot: Snapshot, progress: ((ScanProgress) -> Void)? = nil) {
        self.snapshot = snapshot
        self.progress = progress
        table = snapshot.blocks
        roots = Roots(snapshot)
        referenceOf = .allocate(capacity: table.count + 1)
        referenceOf.initialize(repeating: 0, count: table.count + 1)
        edgeStart = .allocate(capacity: table.count + 1)
        edgeStart.initialize(repeating: 0, count: table.count + 1)
        edges = .allocate(capacity: edgeCapacity)
        window = .allocate(byteCount: Self.windowBytes, alignment: 4096)
        queuedWords = .allocate(capacity: Self.windowBytes / 8 + Self.batch)
        queuedSources = .allocate(capacity: Self.windowBytes / 8 + Self.batch)
        guard table.count > 0 else { return }
        scanRoots()
        scanBlocks()
    }

    deinit {
        referenceOf.deallocate()
        edgeStart.deallocate()
        edges.deallocate()
        window.deallocate()
        queuedWords.deallocate()
        queuedSources.deallocate()
    }

    // MARK: Roots

    private func scanRoots() {
        forEachRootPointer { hit, root, address, value, place in
            refer(hit, root: root, address: address, value: value, place: place)
        }
    }

    /// Calls `body` with each pointer from a root to a block.
    ///
    /// - Complexity: O(bytes of all roots)
    func forEachRootPointer(
        _ body: (_ hit: Hit, _ root: Int, _ address: UInt64, _ value: UInt64, _ place: String) -> Void
    ) {
        for word in roots.words where table.mayPoint(word.value) {
            if let hit = table.hit(word.value) { body(hit, word.root, 0, word.value, word.place) }
        }
        for word in roots.starts where table.mayPoint(word.value) {
            if let hit = table.hit(word.value) {
                body(Hit(block: hit.block, isExact: true), word.root, 0, word.value, word.place)
            }
        }
        for (number, root) in roots.roots.enumerated() where !root.range.isEmpty {
            for run in snapshot.memory.resident(root.range, isShared: root.isShared) {
                let part = run.clamped(to: root.range)
                forEachWindow(wholeWords(part)) { base, words, count in
                    for index in 0 ..< count {
                        let word = words[index]
                        guard table.mayPoint(word), let hit = table.hit(word) else { continue }
                        if root.isHeap && isMallocsOrBlocks(base &+ UInt64(index) * 8, word, hit) { continue }
                        body(hit, number, base &+ UInt64(index) * 8, word, "")
                    }
                }
            }
        }
    }

    /// Whether a pointer in a heap lies in a block or belongs to malloc's lists of free chunks. List pointers lead to
    /// the next chunk's header, whose first word is the last word of the block before.
    private func isMallocsOrBlocks(_ address: UInt64, _ value: UInt64, _ hit: Hit) -> Bool {
        if table.block(at: address) != nil { return true }
        let block = Int(hit.block), chunkBytes = max(32, (table.bytes(block) &+ 23) & ~15)
        return !hit.isExact && value == table.start(block) &- 16 &+ chunkBytes
    }

    private func refer(_ hit: Hit, root: Int, address: UInt64, value: UInt64, place: String = "") {
        let known = referenceOf[Int(hit.block)]
        if known != 0 {
            let best = references[Int(known) - 1]
            let isBetter = quality(hit.isExact, root) > quality(best.isExact, Int(best.root))
            // One exact pointer is enough. Interior pointers are all kept: a heuristic may explain any of them.
            if !isBetter && (best.isExact || hit.isExact || value == best.value) { return }
        }
        guard references.count < Int(UInt32.max) - 1 else { return }
        references.append(
            RootReference(
                block: hit.block, root: UInt32(root), address: address, value: value, isExact: hit.isExact, place: place
            ))
        let number = UInt32(references.count)
        if !hit.isExact { interior.append(number - 1) }
        if known == 0
            || quality(hit.isExact, root)
                > quality(references[Int(known) - 1].isExact, Int(references[Int(known) - 1].root))
        {
            referenceOf[Int(hit.block)] = number
        }
    }

    private func quality(_ isExact: Bool, _ root: Int) -> Int { (roots.roots[root].isWeak ? 0 : 2) + (isExact ? 1 : 0) }

    /// Calls `body` with the words of a range, one window at a time. Unreadable parts are recorded in `unread`.
    func forEachWindow(
        _ range: Range<UInt64>, _ body: (_ base: UInt64, _ words: UnsafePointer<UInt64>, _ count: Int) -> Void
    ) {
        guard let memory = window.baseAddress else { return }
        var at = range.lowerBound
        while at < range.upperBound {
            let wanted = Int(min(UInt64(Self.windowBytes), range.upperBound - at))
            let got = snapshot.memory.read(at, into: UnsafeMutableRawBufferPointer(start: memory, count: wanted))
            scannedBytes &+= UInt64(max(got, 0))
            if got >= 8 { body(at, UnsafePointer(memory.assumingMemoryBound(to: UInt64.self)), got / 8) }
            if got < wanted {
                let page = min(range.upperBound, (at &+ UInt64(max(got, 0)) &+ 4096) & ~4095)
                unread.append(at &+ UInt64(max(got, 0)) ..< page)
                at = page
            } else {
                at &+= UInt64(wanted)
            }
            tell()
        }
    }

    @inline(__always) private func tell() {
        guard let progress else { return }
        progress(
            ScanProgress(
                scannedBytes: scannedBytes, passedBytes: totalBytes == nil ? scannedBytes : passedBytes,
                totalBytes: totalBytes))
    }

    // MARK: Blocks

    private func scanBlocks() {
        passedBytes = scannedBytes
        if progress != nil { totalBytes = (0 ..< table.count).reduce(scannedBytes) { $0 &+ table.bytes($1) } }
        var number = 0
        while number < table.count {
            let first = number, start = table.start(number)
            // A large block may have untouched pages: ask the kernel which are present.
            if table.bytes(number) >= UInt64(Self.windowBytes / 2) {
                let range = start ..< table.end(number)
                for run in snapshot.memory.resident(
                    range.lowerBound & ~4095 ..< (range.upperBound + 4095) & ~4095, isShared: false)
                {
                    let part = run.clamped(to: range)
                    forEachWindow(wholeWords(part)) { _, words, count in
                        queue(words, count, source: UInt64(first))
                        resolve()
                    }
                }
                passedBytes &+= table.bytes(number)
                number += 1
                continue
            }
            var end = table.end(number)
            number += 1
            while number < table.count, table.bytes(number) < UInt64(Self.windowBytes / 2) {
                let next = table.end(number)
                if table.start(number) > end &+ 4096 || next - start > UInt64(Self.windowBytes - 16) { break }
                end = next
                number += 1
            }
            scanCluster(first ..< number, start & ~7 ..< (end &+ 7) & ~7)
        }
        resolve()
        // Turn counts into positions.
        var place: UInt32 = 0
        for index in 0 ... table.count {
            let own = edgeStart[index]
            edgeStart[index] = place
            place &+= own
        }
    }

    private func scanCluster(_ numbers: Range<Int>, _ range: Range<UInt64>) {
        guard let memory = window.baseAddress else { return }
        let wanted = min(range.count, window.count)
        let got = max(
            0, snapshot.memory.read(range.lowerBound, into: UnsafeMutableRawBufferPointer(start: memory, count: wanted))
        )
        scannedBytes &+= UInt64(got)
        if got < wanted { unread.append(range.lowerBound &+ UInt64(got) ..< range.upperBound) }
        let words = UnsafePointer(memory.assumingMemoryBound(to: UInt64.self))
        for number in numbers {
            let from = Int((table.start(number) &- range.lowerBound) + 7) / 8,
                to = min(Int((table.start(number) &+ table.bytes(number)) &- range.lowerBound) / 8, got / 8)
            if from < to { queue(words + from, to - from, source: UInt64(number)) }
        }
        resolve()
        if progress != nil { for number in numbers { passedBytes &+= table.bytes(number) } }
        tell()
    }

    @inline(__always) private func queue(_ words: UnsafePointer<UInt64>, _ count: Int, source: UInt64) {
        let lowest = table.lowest, span = table.span
        var queued = self.queued
        for index in 0 ..< count {
            let word = words[index]
            queuedWords[queued] = word
            queuedSources[queued] = source
            queued &+= word &- lowest < span ? 1 : 0
        }
        self.queued = queued
    }

    private func resolve() {
        var done = 0
        if edgeCount + queued > edgeCapacity { growEdges(edgeCount + queued) }
        let table = self.table, edges = self.edges
        var count = edgeCount
        while done < queued {
            let end = min(done + Self.batch, queued)
            for index in done ..< end { table.prefetch(queuedWords[index]) }
            for index in done ..< end {
                guard let hit = table.hit(queuedWords[index]) else { continue }
                let source = Int(queuedSources[index])
                if Int(hit.block) == source { continue }
                edges[count] = hit.isExact ? hit.block : hit.block | Self.interiorEdge
                count &+= 1
                edgeStart[source] &+= 1
            }
            done = end
        }
        edgeCount = count
        queued = 0
    }

    private func growEdges(_ wanted: Int) {
        let capacity = max(wanted, edgeCapacity * 2)
        let grown = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
        grown.moveInitialize(from: edges, count: edgeCount)
        edges.deallocate()
        (edges, edgeCapacity) = (grown, capacity)
    }

    /// The words of a block.
    func words(of block: Int, limit: Int = 8 << 20) -> [UInt64] {
        let start = (table.start(block) + 7) & ~7, end = (table.start(block) &+ table.bytes(block)) & ~7
        guard start < end else { return [] }
        return snapshot.memory.words(start, count: min(limit, Int(end - start) / 8)) ?? []
    }
}
