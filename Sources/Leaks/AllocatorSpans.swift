// The address ranges that belong to glibc's malloc, found through the live blocks in them: the arenas' heaps, and
// chunks with their own mappings. The program break's heap is known by its name.

/// Address ranges of glibc's malloc outside [heap].
struct AllocatorSpans {
    private(set) var ranges: [Range<UInt64>] = []

    private static let isMapped: UInt64 = 2, isOfArena: UInt64 = 4
    private static let heapBytes: UInt64 = 64 << 20

    /// Reads the header of one block in each heap, and of each large block.
    ///
    /// - Parameter top: the main arena's top chunk. The mapping that holds it is malloc's, whatever its name (a core
    ///   file has no names).
    /// - Complexity: O(heaps and mapped blocks) reads.
    init(_ snapshot: Snapshot, top: UInt64?) {
        let table = snapshot.blocks
        guard table.count > 0 else { return }
        for mapping in snapshot.mappings where mapping.path != "[heap]" {
            var number = table.firstBlock(from: mapping.range.lowerBound)
            while number < table.count, table.start(number) < mapping.range.upperBound {
                let start = table.start(number)
                // The chunk's header: the size of what precedes it, or its offset in its mapping; then its size with
                // three flags.
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
                    // With the largest huge pages a heap exceeds 64 MB; it is then found again at each 64 MB step.
                    let base = start & ~(Self.heapBytes - 1), end = base &+ Self.heapBytes
                    ranges.append(base ..< min(end, max(mapping.range.upperBound, start &+ size)))
                    number = max(number + 1, table.firstBlock(from: end))
                } else if let top, mapping.range.contains(top) {
                    ranges.append(mapping.range)
                    break
                } else {
                    // A part of the main arena outside [heap], because that could not grow: its start is unknown.
                    ranges.append(span(start &- 16, max(start &+ size, table.end(number))))
                    number += 1
                }
            }
        }
    }
}
