// What lies between two live blocks: free chunks, chunks that malloc keeps in caches, the top. The walk goes from
// header to header, and must arrive exactly at the next block; else the program changed something meanwhile, and
// nothing of the gap is foretold.
//
// malloc_trim joins the chunks of fast bins to their neighbours, and then gives back the whole pages of each free chunk
// behind its first 48 bytes. The top is not in a bin: that of the main arena is given back by lowering the break, those
// of other arenas stay.
//
//      chunk at c:  c     size of the chunk before it, if that is free
//                   c+8   its own size, and three bits: the one before is in use, mapped, not of the main arena
//                   c+16  the block

import Leaks

/// What a gap between live blocks is made of.
struct GapContent {
    /// Whole pages that malloc_trim gives back.
    var returned: [Range<UInt64>] = []
    /// The top, as far as malloc_trim doesn't give it back.
    var top: Range<UInt64>?
    /// Chunks that are in use for malloc: in the caches of threads, malloc's own, or blocks that were not booked.
    var kept: [Range<UInt64>] = []
    /// The chunks led somewhere else than to the next block.
    var isUnclear = false

    /// A free chunk's first bytes, which stay: struct malloc_chunk.
    static let rimBytes: UInt64 = 48
}

/// The walk through one gap.
struct GapWalk {
    let arena: GlibcArena
    let heap: GlibcHeap
    /// Where the break's heap is given back by huge pages; else 0.
    let hugePageBytes: UInt64
    let pageBytes: UInt64
    private static let mostKept = 1 << 16

    /// Walks from the chunk at `first` to the chunk at `end`; nil: to the end of the heap.
    ///
    /// - Complexity: O(chunks) between them.
    func content(from first: UInt64, to end: UInt64?, _ memory: inout ProgramMemory) -> GapContent {
        var content = GapContent(), chunk = first, freeFrom: UInt64?
        func flush() {
            guard let start = freeFrom else { return }
            freeFrom = nil
            let mask = pageBytes - 1
            let low = (start + GapContent.rimBytes + mask) & ~mask, high = chunk & ~mask
            if low < high { content.returned.append(low ..< high) }
        }
        let limit = end ?? heap.range.upperBound
        while true {
            if chunk == end {
                flush()
                return content
            }
            guard chunk < limit, let header = memory.word(chunk + 8) else { break }
            let size = header & ~7
            if chunk == arena.top {
                takeTop(from: freeFrom ?? chunk, to: chunk &+ size, &content)
                return content
            }
            // A heap that is full ends with chunks smaller than any block.
            if size < 32 && end == nil && limit - chunk <= 64 {
                flush()
                return content
            }
            let (next, overflow) = chunk.addingReportingOverflow(size)
            guard size >= 32, !overflow, next <= limit, next < heap.range.upperBound,
                let following = memory.word(next + 8)
            else { break }
            if following & 1 == 0 || arena.fastChunks.contains(chunk) {
                if freeFrom == nil { freeFrom = chunk }
            } else {
                flush()
                if let last = content.kept.last, last.upperBound == chunk {
                    content.kept[content.kept.count - 1] = last.lowerBound ..< next
                } else {
                    if content.kept.count == Self.mostKept { break }
                    content.kept.append(chunk ..< next)
                }
            }
            chunk = next
        }
        content = GapContent()
        content.isUnclear = true
        return content
    }

    // As systrim does: whole pages, but for the smallest chunk and a byte; only if nothing else moved the break.
    private func takeTop(from start: UInt64, to end: UInt64, _ content: inout GapContent) {
        guard end >= start, end <= heap.range.upperBound else {
            content.isUnclear = true
            return
        }
        content.top = start ..< heap.range.upperBound
        guard arena.isMain, end == heap.range.upperBound, end - start > 33 else { return }
        let unit = max(hugePageBytes, pageBytes)
        let bytes = (end - start - 33) / unit * unit
        guard bytes > 0 else { return }
        content.top = start ..< end - bytes
        content.returned.append(end - bytes ..< end)
    }
}
