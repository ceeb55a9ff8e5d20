// What of the address space is glibc malloc's, by the blocks that lie there: heaps of its arenas, and chunks with
// mappings of their own. The program break's heap is malloc's by its name.

/// Address ranges of glibc's malloc outside of [heap].
struct AllocatorSpans {
    private(set) var ranges: [Range<UInt64>] = []

    private static let isMapped: UInt64 = 2, isOfArena: UInt64 = 4
    private static let heapBytes: UInt64 = 64 << 20

    /// Looks at one block of each heap, and at each large one.
    ///
    /// - Parameter top: where the main arena's heap ends for now. Whatever the mapping that it lies in is called (a
    ///   core file has no names), it is malloc's.
    /// - Complexity: O(heaps and mapped blocks) reads.
    init(_ snapshot: Snapshot, top: UInt64?) {
        let table = snapshot.blocks
        guard table.count > 0 else { return }
        for mapping in snapshot.mappings where mapping.path != "[heap]" {
            var number = table.firstBlock(from: mapping.range.lowerBound)
            while number < table.count, table.start(number) < mapping.range.upperBound {
                let start = table.start(number)
                // The chunk's header: the bytes before it, or of its mapping; and its size with three flags.
                guard let header = snapshot.memory.words(start &- 16, count: 2) else {
                    number += 1
                    continue
                }
                let size = header[1] & ~7
                if header[1] & Self.isMapped != 0 {
                    let (end, overflow) = (start &- 16).addingReportingOverflow(size)
                    let low = start &- 16 &- header[0]
                    if !overflow, low <= start, header[0] < 1 << 32 {
                        ranges.append(span(low, max(end, table.end(number))))
                    }
                    number += 1
                } else if header[1] & Self.isOfArena != 0 {
                    // Larger than 64 MB where the largest huge pages are used; then a heap is found again at each step.
                    let base = start & ~(Self.heapBytes - 1), end = base &+ Self.heapBytes
                    ranges.append(base ..< min(end, max(mapping.range.upperBound, start &+ size)))
                    number = max(number + 1, table.firstBlock(from: end))
                } else if let top, mapping.range.contains(top) {
                    ranges.append(mapping.range)
                    break
                } else {
                    // The main arena, which could not grow its heap: nothing tells where such a part begins.
                    ranges.append(span(start &- 16, max(start &+ size, table.end(number))))
                    number += 1
                }
            }
        }
    }
}
