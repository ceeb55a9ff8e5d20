// Blocks that malloc gave away before the recording was attached: no image has them, but glibc's arenas do. A walk over
// all arenas of the snapshot finds their addresses and sizes. Then they are blocks like all others, without a stack.
//
// Where the walk can't be sure, it says so, and finds nothing there: that memory is searched like unknown memory.

import HeapImage
import Text

/// The blocks of a snapshot that are not in its image.
struct EarlierBlocks {
    /// Their bytes are what malloc gave: up to 40 more than were asked for, and all of a block's own mapping.
    private(set) var blocks: [LiveBlock] = []
    /// Heaps in which all blocks are known, sorted.
    private(set) var walked: [Range<UInt64>] = []
    /// What is not known, for people.
    private(set) var gaps: [String] = []
    /// The chunks that were visited.
    private(set) var chunkCount = 0
    /// Blocks of the image that malloc has as free, by number: they were freed where the recorder does not see it.
    private(set) var gone: Set<Int> = []

    /// - Parameter snapshot: of a process whose malloc is glibc's.
    /// - Complexity: O(chunks of malloc) time; 24 bytes of memory for each block that is found.
    init(_ snapshot: Snapshot) {
        let glibc = GlibcState(snapshot)
        guard let libc = snapshot.modules(GlibcState.isLibc).first, let main = glibc.mainArena?.lowerBound else {
            self.init(gap: "malloc's main arena was not found")
            return
        }
        let heaps = GlibcHeaps(
            main: main, mappings: snapshot.mappings, libcData: libc.data, memory: snapshot.memory)
        self.init(
            heaps, blocks: snapshot.blocks,
            threadPointers: snapshot.threads.map(\.threadPointer) + glibc.threadPointers,
            mappings: snapshot.mappings, memory: snapshot.memory)
    }

    private init(gap: String) { gaps = [gap] }

    /// - Parameters:
    ///   - table: the image's blocks.
    ///   - threadPointers: of all threads, the living first, also of those that have ended but keep their stacks.
    /// - Complexity: O(chunks of malloc) time; 24 bytes of memory for each block that is found.
    init(
        _ heaps: GlibcHeaps, blocks table: BlockTable, threadPointers pointers: [UInt64], mappings: [AddressMapping],
        memory: any ProcessMemory
    ) {
        if !heaps.isWhole { gaps.append("malloc's list of arenas can't be read to its end") }
        let ranges = heaps.arenas.flatMap { $0.heaps.map(\.range) }.sorted { $0.lowerBound < $1.lowerBound }
        var seen: Set<UInt64> = []
        // The main arena may have parts outside the break.
        let possible = merged(ranges + mappings.filter { $0.mayBeMallocs }.map(\.range))
        guard
            let caches = ThreadCaches(
                threadPointers: pointers.filter { $0 != 0 && seen.insert($0).inserted }, heaps: possible,
                mappings: mappings, memory: memory)
        else {
            gaps.append("the caches of malloc's threads were not found")
            return
        }
        var inUse = [Bool](repeating: false, count: table.count), tails: [Range<UInt64>] = []
        for arena in heaps.arenas {
            do throws(ArenaFault) {
                let walk = try ArenaWalk(
                    arena, cached: caches.chunks, table: table, mappings: mappings, memory: memory)
                blocks += walk.unknown.map { Self.block($0, headerBytes: 8) }
                for block in walk.known { inUse[Int(block)] = true }
                tails += walk.tails
                walked += walk.ranges
                chunkCount += walk.chunkCount
            } catch {
                gaps.append("the arena at \(hex(arena.address)): \(error.text)")
            }
        }
        // A program may free and grow blocks by addresses of malloc's functions that it looked up before the recording.
        walked = merged(walked)
        for range in walked {
            var block = table.firstBlock(from: range.lowerBound)
            while block < inUse.count, table.start(block) < range.upperBound {
                if !inUse[block] { gone.insert(block) }
                block += 1
            }
        }
        // What was written behind the end that the image has is unknown memory.
        tails = merged(tails)
        walked = walked.flatMap { subtract(tails, from: $0) }
        addMapped(heaps, ranges, table, mappings, memory)
    }

    private mutating func addMapped(
        _ heaps: GlibcHeaps, _ ranges: [Range<UInt64>], _ table: BlockTable, _ mappings: [AddressMapping],
        _ memory: any ProcessMemory
    ) {
        guard let parameters = heaps.parameters,
            let mapped = MappedChunks(
                parameters, heaps: merged(ranges + walked), table: table, mappings: mappings, memory: memory)
        else {
            gaps.append("blocks with mappings of their own: they were not found as malloc counts them")
            return
        }
        blocks += mapped.unknown.map { Self.block($0, headerBytes: 16) }
    }

    private static func block(_ chunk: UsedChunk, headerBytes: UInt64) -> LiveBlock {
        LiveBlock(
            address: chunk.address &+ 16, bytes: chunk.bytes &- headerBytes, stack: BlockTable.earlierStack, tick: 0)
    }
}

extension Snapshot {
    /// Adds the blocks from before the recording to those of the image, as far as they can be found.
    func addEarlierBlocks() {
        let earlier = EarlierBlocks(self)
        walkedHeaps = earlier.walked
        if !earlier.blocks.isEmpty || !earlier.gone.isEmpty {
            blocks = BlockTable(blocks, changedBy: earlier)
        }
        if !earlier.gone.isEmpty {
            notes.append(
                "\(counted(UInt64(earlier.gone.count), "block")) of the image: malloc has them as free, so the program "
                    + "freed them by an address of free from before the recording, and they have no verdict")
        }
        let bytes = earlier.blocks.reduce(0) { $0 &+ $1.bytes }
        if !earlier.blocks.isEmpty || earlier.gaps.isEmpty {
            let found = "\(counted(UInt64(earlier.blocks.count), "block")) of \(counted(bytes, "byte"))"
            notes.append("\(found) from before the recording were found in malloc's arenas: they have no stack")
        }
        guard !earlier.gaps.isEmpty else { return }
        notes.append(
            "not all blocks from before the recording were found (\(earlier.gaps.prefix(4).joined(separator: "; "))"
                + "\(earlier.gaps.count > 4 ? "; and \(earlier.gaps.count - 4) more" : "")): blocks that only these "
                + "or freed memory lead to are called possible")
    }
}

extension BlockTable {
    /// The blocks of a table without those that are gone, and the earlier ones.
    ///
    /// - Complexity: O(blocks)
    convenience init(_ table: BlockTable, changedBy earlier: EarlierBlocks) {
        self.init(granule: 16, keepsTicks: table.tick(0) != nil) { body in
            for first in stride(from: 0, to: table.count, by: 4096) {
                let batch = (first ..< min(first + 4096, table.count)).filter { !earlier.gone.contains($0) }.map {
                    LiveBlock(
                        address: table.start($0), bytes: table.bytes($0), stack: table.stack($0),
                        tick: table.tick($0) ?? 0)
                }
                body(batch.span)
            }
            body(earlier.blocks.span)
        }
    }
}
