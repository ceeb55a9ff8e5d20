// The caches of threads (tcache): chunks that are free, but marked as in use. Each thread has one structure, itself a
// chunk in use that malloc gave nobody. The thread's variable that points to it has no symbol. It is found among the
// thread-local words as the one that leads, in all threads, to such a structure or nowhere.
//
// A chunk has 16 bytes more if no smaller one could be made of these.
//
//     since 2.30:  counts[64]: 2 bytes each; entries[64]      a chunk of 0x290 bytes
//     until 2.29:  counts[64]: 1 byte each; entries[64]       a chunk of 0x250 bytes
//
// An entry points to a block, whose first word links to the next. Since 2.32 a link is stored as the bits in which it
// differs from its own address, shifted by 12.

/// The chunks of the threads' caches.
struct ThreadCaches {
    /// Addresses of chunks: the structures, and what is in them.
    private(set) var chunks: Set<UInt64> = []

    private static let mostStatic: UInt64 = 64 << 10, longestList = 1 << 16, mostSources = 4
    private let memory: any ProcessMemory
    private let heaps: [Range<UInt64>]

    /// - Parameters:
    ///   - threadPointers: of all threads, the living first, also of those that have ended but keep their stacks.
    ///   - heaps: of all arenas, in order of address.
    /// - Returns: nil if the caches of all threads are not surely found.
    /// - Complexity: O(threads and cached chunks) readings.
    init?(threadPointers: [UInt64], heaps: [Range<UInt64>], mappings: [AddressMapping], memory: any ProcessMemory) {
        (self.memory, self.heaps) = (memory, heaps)
        var distances: Set<UInt64> = [], sources = 0
        for thread in threadPointers where sources < Self.mostSources {
            let own = candidates(beside: thread, mappings)
            if !own.isEmpty { sources += 1 }
            distances.formUnion(own)
        }
        // A stale word on a stack may lead to a cache, too. The variable leads to the most.
        var caches: [UInt64: Set<UInt64>?] = [:], most = 0, isSure = false
        for distance in distances {
            var count = 0, isWhole = true, found: Set<UInt64> = []
            for thread in threadPointers {
                guard let value = memory.word(ThreadLayout.isStorageAbove ? thread &+ distance : thread &- distance),
                    value != 0
                else { continue }
                let cache = caches[value] ?? cached(at: value)
                caches[value] = .some(cache)
                guard let cache else {
                    isWhole = false
                    continue
                }
                count += 1
                found.insert(value &- 16)
                found.formUnion(cache)
            }
            if count < most { continue }
            (isSure, chunks) = count > most ? (isWhole, found) : (isSure && isWhole, chunks.union(found))
            most = count
        }
        guard isSure else { return nil }
    }

    /// How far from its thread pointer a thread has words of thread-local storage that lead to a cache.
    private func candidates(beside thread: UInt64, _ mappings: [AddressMapping]) -> [UInt64] {
        guard thread & 7 == 0, let mapping = mappings.first(where: { $0.range.contains(thread) }) else { return [] }
        if ThreadLayout.isStorageAbove {
            let count = min(mapping.range.upperBound - thread, Self.mostStatic) / 8
            guard let words = memory.words(thread, count: Int(count)) else { return [] }
            return words.indices.filter { cached(at: words[$0]) != nil }.map { UInt64($0) * 8 }
        }
        let low = max(mapping.range.lowerBound, thread - min(thread, Self.mostStatic))
        guard let words = memory.words(low, count: Int(thread - low) / 8) else { return [] }
        return words.indices.filter { cached(at: words[$0]) != nil }.map { thread - low - UInt64($0) * 8 }
    }

    private func isInHeaps(_ address: UInt64) -> Bool {
        var (low, high) = (0, heaps.count)
        while low < high {
            let middle = (low + high) / 2
            if heaps[middle].upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < heaps.count && heaps[low].contains(address)
    }

    /// The chunks in the cache at an address; nil if there is none.
    private func cached(at address: UInt64) -> Set<UInt64>? {
        guard address & 15 == 0, isInHeaps(address), let header = memory.word(address &- 8) else { return nil }
        let countBytes: Int
        switch header & ~7 {
        case 0x290, 0x2A0: countBytes = 2
        case 0x250, 0x260: countBytes = 1
        default: return nil
        }
        guard let counts = memory.bytes(address, count: 64 * countBytes),
            let entries = memory.words(address &+ UInt64(64 * countBytes), count: 64)
        else { return nil }
        var found: Set<UInt64> = [], difference = 0
        for bin in 0 ..< 64 {
            let count = countBytes == 1 ? Int(counts[bin]) : Int(counts[2 * bin]) | Int(counts[2 * bin + 1]) << 8
            guard let length = addList(entries[bin], chunkBytes: UInt64(bin + 2) * 16, &found) else { return nil }
            difference += abs(length - count)
        }
        // A thread may be between the two steps of a change.
        return difference <= 1 ? found : nil
    }

    /// Adds the chunks of a list. Returns its length; nil if it is none.
    private func addList(_ first: UInt64, chunkBytes: UInt64, _ found: inout Set<UInt64>) -> Int? {
        var entry = first, length = 0, links = FreeListLinks()
        while entry != 0 {
            guard entry & 15 == 0, isInHeaps(entry), let words = memory.words(entry &- 8, count: 2),
                words[0] & ~7 == chunkBytes, length < Self.longestList, found.insert(entry &- 16).inserted
            else { return nil }
            length += 1
            entry = links.target(of: words[1], at: entry) { isEntry($0, chunkBytes) }
        }
        return length
    }

    private func isEntry(_ address: UInt64, _ chunkBytes: UInt64) -> Bool {
        address & 15 == 0 && isInHeaps(address) && memory.word(address &- 8).map { $0 & ~7 == chunkBytes } ?? false
    }
}
