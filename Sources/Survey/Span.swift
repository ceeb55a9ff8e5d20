// The address ranges in which a process's allocator has blocks. For glibc they are exact: the break's heap, the heaps
// of the arenas, and the mappings of large blocks, which their headers tell. For other allocators they are the
// anonymous mappings in which live blocks lie. Without a process, they are the pages of the live blocks.

import HeapImage
import Leaks

/// A range of addresses that belongs to the allocator, with its blocks.
struct Span {
    enum Kind {
        case heap(GlibcArena, GlibcHeap)
        /// One block of glibc that has a mapping of its own.
        case mapped
        /// Blocks with glibc's headers; what lies between them is not known.
        case chunks
        /// Blocks of another allocator.
        case bare
    }

    var range: Range<UInt64>
    var kind: Kind
    /// Its place in the list of arenas.
    var arena: Int
    /// Its blocks' places in the list of all, which is in order of address.
    var blocks: Range<Int>
}

/// Makes the spans.
struct Spans {
    private(set) var spans: [Span] = []
    private(set) var arenas: [ArenaSums] = []
    /// Blocks whose memory was gone when it was looked for.
    private(set) var vanished = 0
    private let blocks: [LiveBlock]
    private let pageMask: UInt64
    private var next = 0

    /// The first block that starts at an address or after it.
    private func place(_ address: UInt64) -> Int {
        var (low, high) = (0, blocks.count)
        while low < high {
            let middle = (low + high) / 2
            if blocks[middle].address < address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// A dump's: its live blocks, wherever they are.
    init(blocks: [LiveBlock], hasHeaders: Bool) {
        (self.blocks, pageMask) = (blocks, 0)
        arenas = [ArenaSums(kind: .other)]
        spans = [
            Span(
                range: 0 ..< UInt64.max, kind: hasHeaders ? .chunks : .bare, arena: 0, blocks: 0 ..< blocks.count)
        ]
    }

    /// glibc's.
    ///
    /// - Complexity: one reading for each block outside the heaps, and O(blocks).
    init(blocks: [LiveBlock], _ heaps: GlibcHeaps, _ program: RunningProgram, pageBytes: UInt64) {
        (self.blocks, pageMask) = (blocks, pageBytes - 1)
        var known: [Span] = []
        for arena in heaps.arenas {
            arenas.append(
                ArenaSums(
                    kind: arena.isMain ? .main : .arena, address: arena.isMain ? nil : arena.address,
                    heaps: arena.heaps.count))
            for heap in arena.heaps {
                // A block's own bytes begin 8 bytes before it.
                let own = place(heap.range.lowerBound + 8) ..< place(heap.range.upperBound)
                known.append(
                    Span(range: heap.range, kind: .heap(arena, heap), arena: arenas.count - 1, blocks: own))
            }
        }
        known.sort { $0.range.lowerBound < $1.range.lowerBound }
        let mapped = arenas.count
        arenas += [ArenaSums(kind: .mapped), ArenaSums(kind: .other)]
        var number = 0
        for span in known where span.blocks.lowerBound >= number {
            addLoose(number ..< span.blocks.lowerBound, mapped, program)
            spans.append(span)
            number = span.blocks.upperBound
        }
        addLoose(number ..< blocks.count, mapped, program)
    }

    /// Blocks outside the heaps: with mappings of their own, or of the main arena where the break could not grow.
    private mutating func addLoose(_ numbers: Range<Int>, _ mapped: Int, _ program: RunningProgram) {
        for number in numbers {
            let start = blocks[number].address
            guard start >= 16, let header = program.memory.words(start - 16, count: 2) else {
                vanished += 1
                continue
            }
            let size = header[1] & ~7, isMapped = header[1] & 2 != 0
            let low = isMapped ? (start - 16) &- header[0] : (start - 16) & ~pageMask
            let (end, overflow) = (start - 16).addingReportingOverflow(size)
            guard !overflow, low <= start - 16, start - 16 - low < 1 << 32, size >= blocks[number].bytes, size < 1 << 46
            else {
                vanished += 1
                continue
            }
            let high = (end + pageMask) & ~pageMask
            if !isMapped, let last = spans.last, case .chunks = last.kind, last.range.upperBound >= low {
                spans[spans.count - 1].range = last.range.lowerBound ..< max(last.range.upperBound, high)
                spans[spans.count - 1].blocks = last.blocks.lowerBound ..< number + 1
            } else if spans.last.map({ $0.range.upperBound <= low }) ?? true {
                spans.append(
                    Span(
                        range: low ..< high, kind: isMapped ? .mapped : .chunks, arena: isMapped ? mapped : mapped + 1,
                        blocks: number ..< number + 1))
            } else {
                vanished += 1
            }
        }
    }

    /// Another allocator's: the mappings that hold blocks.
    init(blocks: [LiveBlock], _ program: RunningProgram) {
        (self.blocks, pageMask) = (blocks, 0)
        arenas = [ArenaSums(kind: .other)]
        var counted = 0
        for mapping in program.mappings where !mapping.isFile && !mapping.isShared && mapping.isWritable {
            let own = place(mapping.range.lowerBound) ..< place(mapping.range.upperBound)
            if own.isEmpty { continue }
            counted += own.count
            spans.append(Span(range: mapping.range, kind: .bare, arena: 0, blocks: own))
        }
        arenas[0].heaps = spans.count
        vanished = blocks.count - counted
    }
}
