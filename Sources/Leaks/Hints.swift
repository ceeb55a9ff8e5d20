// What the program said of its own memory (heapsum.h): blocks that are no leaks, and memory to be looked through. It
// lies in the recorder's memory in the program, and is found by the symbol of the library. It is the program's word:
// what makes no sense is passed over.

import CHeapImage

/// The hints of a snapshot.
struct Hints {
    /// Starts of live blocks that are no leaks.
    private(set) var ignored: [UInt64] = []
    private(set) var roots: [Range<UInt64>] = []
    /// Where they lie: no roots, although they hold addresses.
    private(set) var memory: [Range<UInt64>] = []
    /// Requests that found no room in the program.
    private(set) var lost = 0

    /// Reads nothing where the library has no hints to give.
    ///
    /// - Complexity: O(pages of hints that were written).
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
