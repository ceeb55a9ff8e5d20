// Blocks with mappings of their own: each has a header at the mapping's start. The kernel joins neighbouring mappings,
// so headers are looked for at each present page of malloc's and the program's anonymous memory. Other memory may look
// like a header: what is found counts only if number and bytes are those that malloc counts itself.

/// The mapped blocks of a snapshot.
struct MappedChunks {
    /// Those that are not in the image.
    private(set) var unknown: [UsedChunk] = []
    private(set) var count: UInt64 = 0

    private static let isMapped: UInt64 = 2, pageMask = ThreadLayout.pageBytes - 1
    private let memory: any ProcessMemory

    /// - Parameters:
    ///   - parameters: malloc's own counters.
    ///   - heaps: of all arenas, in order of address: no mapped block lies there.
    /// - Returns: nil if what was found is not what malloc counts.
    /// - Complexity: O(present pages outside blocks) readings, until all are found.
    init?(
        _ parameters: MallocParameters, heaps: [Range<UInt64>], table: BlockTable, mappings: [AddressMapping],
        memory: any ProcessMemory
    ) {
        self.memory = memory
        var bytes: UInt64 = 0
        for mapping in mappings where mapping.mayBeMallocs && count < parameters.mappedBlocks {
            for part in subtract(heaps, from: mapping.range) {
                var at = part.lowerBound
                for run in memory.resident(part, isShared: false) {
                    at = max(at, run.lowerBound)
                    while at < min(run.upperBound, part.upperBound), count < parameters.mappedBlocks {
                        guard let size = size(at, part.upperBound) else {
                            at = (at &+ ThreadLayout.pageBytes) & ~Self.pageMask
                            continue
                        }
                        count += 1
                        bytes &+= size
                        add(at, size, table)
                        at &+= size
                    }
                }
            }
        }
        guard count == parameters.mappedBlocks, bytes == parameters.mappedBytes else { return nil }
    }

    /// The bytes of the mapped chunk at a page's start.
    private func size(_ at: UInt64, _ limit: UInt64) -> UInt64? {
        guard at & Self.pageMask == 0, let header = memory.words(at, count: 2), header[0] == 0,
            header[1] & Self.pageMask == Self.isMapped, header[1] > Self.pageMask, header[1] & ~7 <= limit &- at
        else { return nil }
        return header[1] & ~7
    }

    private mutating func add(_ at: UInt64, _ size: UInt64, _ table: BlockTable) {
        if table.count > 0 {
            let first = table.firstBlock(from: at)
            if first < table.count, table.start(first) < at &+ size { return }
        }
        let lead = lead(at, size)
        unknown.append(UsedChunk(address: at &+ lead, bytes: size &- lead))
    }

    /// How far behind the mapping's start the header of an aligned block is: it says so itself. The first header stays.
    private func lead(_ at: UInt64, _ size: UInt64) -> UInt64 {
        var alignment: UInt64 = 32
        while alignment < size {
            var block = (at &+ 16 &+ alignment &- 1) & ~(alignment &- 1)
            if block &- 16 &- at < 32 { block &+= alignment }
            let lead = block &- 16 &- at
            if lead < size, let header = memory.words(block &- 16, count: 2), header[0] == lead,
                header[1] == (size &- lead) | Self.isMapped
            {
                return lead
            }
            alignment *= 2
        }
        return 0
    }
}
