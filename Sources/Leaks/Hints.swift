// The program's hints about its own memory (heapsum.h): blocks that are no leaks, memory to search for pointers. The
// hints lie in the recorder's memory in the program, and are found by a symbol of the library. The program may have
// damaged them: hints that make no sense are ignored.

import CHeapImage

/// The hints of a snapshot.
struct Hints {
    /// Starts of live blocks that are no leaks.
    private(set) var ignored: [UInt64] = []
    private(set) var roots: [Range<UInt64>] = []
    /// The hints' own memory. It is no root, although it holds addresses.
    private(set) var memory: [Range<UInt64>] = []
    /// Hints that were lost because the program's table was full.
    private(set) var lost = 0

    /// Reads the hints, if the library in the process has any.
    ///
    /// - Complexity: O(written pages of hints).
    init(_ snapshot: Snapshot) {
        let library = snapshot.modules { $0.hasPrefix("libheapsum.so") }.first
        let symbol = "heapsum_hints"
        guard let place = library?.symbols([symbol], memory: snapshot.memory)[symbol],
            let head = snapshot.memory.words(place, count: MemoryLayout<heap_hints>.size / 8),
            head[0] & 0xFFFF_FFFF == UInt64(HEAP_HINTS_VERSION)
        else { return }
        lost = Int(head[0] >> 32)
        for index in stride(from: 2, to: head.count - 1, by: 2) where head[index] < head[index + 1] {
            roots.append(head[index] ..< head[index + 1])
        }
        guard head[1] > 0 else { return }
        let entryBytes = UInt64(MemoryLayout<heap_hint_block>.size)
        let (end, overflow) = head[1].addingReportingOverflow(UInt64(HEAP_HINT_BLOCKS) * entryBytes)
        guard !overflow, head[1] % 8 == 0 else { return }
        memory.append(head[1] ..< end)
        for run in snapshot.memory.resident(head[1] ..< end, isShared: false) {
            readBlocks(run.clamped(to: head[1] ..< end), snapshot)
        }
    }

    private mutating func readBlocks(_ range: Range<UInt64>, _ snapshot: Snapshot) {
        let table = snapshot.blocks
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 20) {
            let count = Int(min(range.upperBound - start, 1 << 20) / 8)
            guard let words = snapshot.memory.words(start, count: count) else { continue }
            for index in stride(from: 0, to: words.count - 1, by: 2) where words[index + 1] != 0 {
                guard let block = table.block(at: words[index]), table.start(block) == words[index],
                    table.stack(block) == heap_slot_stack(words[index + 1]),
                    table.tick(block) ?? heap_slot_tick(words[index + 1]) == heap_slot_tick(words[index + 1])
                else { continue }
                ignored.append(words[index])
            }
        }
    }
}
