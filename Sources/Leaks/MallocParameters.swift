// glibc's settings of malloc as they stand in a running process: struct malloc_par, of which a stripped library has no
// name. It is found in libc's data by its contents: the break's first address, which /proc shows as the start of
// [heap], and counters that must fit each other. Two places that fit, or none: then nothing is known.

/// The settings of glibc's malloc, in bytes.
package struct MallocParameters: Equatable {
    /// The top of the heap is given back by free when it is larger (M_TRIM_THRESHOLD).
    package var trimThreshold: UInt64
    /// Kept at the top by then (M_TOP_PAD).
    package var topPad: UInt64
    /// Blocks from this size on get mappings of their own (M_MMAP_THRESHOLD).
    package var mmapThreshold: UInt64
    /// The most arenas; 0: 8 for each processor (M_ARENA_MAX).
    package var arenaMax: UInt64
    /// Blocks that have mappings of their own now, and their bytes.
    package var mappedBlocks: UInt64
    package var mappedBytes: UInt64
    /// Whether the program or its environment set a threshold: then free doesn't raise them.
    package var isFixed: Bool
    /// The first address of the break.
    package var firstBreak: UInt64
    /// The bytes of the huge pages by which the top is given back; 0: by pages.
    package var hugePageBytes: UInt64 = 0

    package static let defaultThreshold: UInt64 = 128 << 10

    /// - Parameters:
    ///   - data: libc's writable data.
    ///   - firstBreak: where [heap] starts.
    static func find(in data: [Range<UInt64>], firstBreak: UInt64, _ memory: any ProcessMemory) -> MallocParameters? {
        var found: [MallocParameters] = []
        for range in data where range.count < 1 << 22 {
            guard let words = memory.words(range.lowerBound, count: range.count / 8) else { continue }
            for index in words.indices where words[index] &- firstBreak < 4096 && words[index] & 7 == 0 {
                // Since 2.35 three words on huge pages lie before the counters.
                for (first, hasHugePages) in [(index - 12, true), (index - 9, false)] where first >= 0 {
                    if let one = MallocParameters(words[first ... index], hasHugePages, firstBreak: words[index]) {
                        found.append(one)
                    }
                }
            }
        }
        return found.count == 1 ? found[0] : nil
    }

    //  trim_threshold, top_pad, mmap_threshold, arena_test, arena_max, [thp_pagesize, hp_pagesize, hp_flags: int,]
    //  n_mmaps, n_mmaps_max, max_n_mmaps, no_dyn_threshold: int, mmapped_mem, max_mmapped_mem, sbrk_base
    private init?(_ words: ArraySlice<UInt64>, _ hasHugePages: Bool, firstBreak: UInt64) {
        let all = Array(words)
        var counters: [UInt64] = []
        for word in all[(hasHugePages ? 7 : 5)...].dropLast(3) { counters += [word & 0xFFFF_FFFF, word >> 32] }
        // hp_flags comes before them, and padding after them.
        if hasHugePages { counters.removeFirst() }
        let (now, limit, most, fixed) = (counters[0], counters[1], counters[2], counters[3])
        let (bytes, mostBytes) = (all[all.count - 3], all[all.count - 2])
        guard now <= most, limit <= Int32.max, most <= max(limit, 1 << 20), fixed <= 1, bytes <= mostBytes,
            bytes & 4095 == 0, now == 0 || bytes >= now << 12, bytes == 0 || now > 0,
            all[2] < 1 << 40, all[3] <= 1 << 20, all[4] <= 1 << 20
        else { return nil }
        // Without a change both thresholds are what glibc was built with; free raises them, and keeps the one at twice
        // the other.
        let normal = Self.defaultThreshold
        guard fixed == 1 || (all[0], all[2]) == (normal, normal) || (all[0] == all[2] << 1 && all[2] > normal) else {
            return nil
        }
        (trimThreshold, topPad, mmapThreshold, arenaMax) = (all[0], all[1], all[2], all[4])
        (mappedBlocks, mappedBytes, isFixed, self.firstBreak) = (now, bytes, fixed == 1, firstBreak)
        hugePageBytes = hasHugePages ? all[5] : 0
    }
}
