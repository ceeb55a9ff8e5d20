// Where a machine's memory is, by the kernel's own counters. Each page is in exactly one class. What no counter
// explains was taken directly from the page allocator, by drivers and others: total less free less everything counted.
//
// Invariant: the classes, free and unexplained add up to MemTotal exactly. So unexplained can be slightly below 0,
// because the counters are not read at one moment and each processor delays some of its changes.

/// A use of memory that the kernel counts.
package enum MemoryClass: Int, CaseIterable, Sendable {
    case anonymous, shared, file
    case buffers, slabReclaimable, slabUnreclaimable, otherReclaimable, stacks, pageTables, vmalloc, perCPU, sockets,
        hugePages
    case swapCache, compressed, writeback, graphics, corrupted
    /// Free pages that each processor keeps at hand.
    case pageLists
    /// If nothing says how much of it is reclaimable.
    case slab

    package var isOfApplications: Bool { rawValue <= MemoryClass.file.rawValue }
    package var name: String { "\(self)" }

    /// A plain name of one or two words.
    package var plainName: String {
        switch self {
        case .anonymous: "anonymous memory"
        case .shared: "shared memory"
        case .file: "page cache"
        case .buffers: "buffers"
        case .slabReclaimable: "reclaimable slab"
        case .slabUnreclaimable: "unreclaimable slab"
        case .otherReclaimable: "other reclaimable"
        case .stacks: "kernel stacks"
        case .pageTables: "page tables"
        case .vmalloc: "vmalloc"
        case .perCPU: "per-CPU"
        case .sockets: "socket buffers"
        case .hugePages: "huge pages"
        case .swapCache: "swap cache"
        case .compressed: "zswap and zram"
        case .writeback: "writeback"
        case .graphics: "graphics"
        case .corrupted: "corrupted"
        case .pageLists: "per-CPU free lists"
        case .slab: "slab"
        }
    }

    package var title: String {
        switch self {
        case .anonymous: "anonymous: heaps, stacks, mmap"
        case .shared: "shared: tmpfs, /dev/shm, System V, memfd"
        case .file: "file: programs, and the cache of files"
        case .buffers: "buffers: block devices' cache"
        case .slabReclaimable: "slab, reclaimable"
        case .slabUnreclaimable: "slab, not reclaimable"
        case .otherReclaimable: "other reclaimable"
        case .stacks: "kernel stacks"
        case .pageTables: "page tables"
        case .vmalloc: "vmalloc"
        case .perCPU: "per-CPU"
        case .sockets: "sockets"
        case .hugePages: "huge pages set aside"
        case .swapCache: "swap cache"
        case .compressed: "zswap, zram"
        case .writeback: "writeback, bounce"
        case .graphics: "graphics"
        case .corrupted: "corrupted, set aside"
        case .pageLists: "free, on processors' lists"
        case .slab: "slab, reclaimable or not"
        }
    }
}

package struct MemoryPicture: Equatable, Sendable {
    package var total: Int64
    package var free: Int64
    /// Bytes by class, in the order of `MemoryClass`.
    package var classes: [Int64]
    package var unexplained: Int64
    /// The kernel's estimate of the memory available without swapping; and free swap.
    package var available: Int64
    package var swapFree: Int64
    /// `unexplained` includes programs' memory, because an imported log does not have it separately.
    package var isPartial = false
    static let partialTitle = "programs' memory, and what the input doesn't tell apart from it"

    package subscript(_ class: MemoryClass) -> Int64 { classes[`class`.rawValue] }
}

/// Finds the columns once, so that each sample's picture is cheap.
struct MemoryColumns {
    private let indices: [String: Int]
    let columnCount: Int

    init(_ names: [String]) {
        indices = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
        columnCount = names.count
    }

    func value(_ name: String, _ system: DecodedEntity) -> Int64? {
        guard let index = indices[name] else { return nil }
        let value = system[index]
        return value == Sample.unknown ? nil : value
    }

    /// nil if the sample has no meminfo.
    func picture(_ system: DecodedEntity, pageBytes: Int64) -> MemoryPicture? {
        // Numbers come from a file, so impossibly large ones are cut to keep sums from overflowing.
        func bytes(_ name: String) -> Int64? { value("meminfo.\(name)", system).map { min($0, 1 << 50) * 1024 } }
        func pages(_ name: String) -> Int64 { value(name, system).map { min($0, 1 << 38) * pageBytes } ?? 0 }
        func sum(_ names: String...) -> Int64 { names.reduce(0) { $0 + (bytes($1) ?? 0) } }
        guard let total = bytes("MemTotal"), let free = bytes("MemFree") else { return nil }

        var classes = [Int64](repeating: 0, count: MemoryClass.allCases.count)
        func put(_ which: MemoryClass, _ bytes: Int64) { classes[which.rawValue] = max(bytes, 0) }
        let shared = sum("Shmem"), cached = sum("Cached"), anonymous = sum("AnonPages"), buffers = sum("Buffers")
        put(.anonymous, anonymous)
        put(.shared, shared)
        // Shared memory is part of Cached, because its pages are in the page cache.
        put(.file, cached - shared)
        put(.buffers, buffers)
        put(.slabReclaimable, sum("SReclaimable"))
        if let unreclaimable = bytes("SUnreclaim") {
            put(.slabUnreclaimable, unreclaimable)
        } else {
            put(.slab, sum("Slab") - sum("SReclaimable"))
        }
        put(.otherReclaimable, bytes("KReclaimable").map { $0 - sum("SReclaimable") } ?? 0)
        let stacks = sum("KernelStack", "ShadowCallStack")
        put(.stacks, stacks)
        put(.pageTables, sum("PageTables", "SecPageTables"))
        // Stacks are allocated by vmalloc and counted there, too.
        put(.vmalloc, sum("VmallocUsed") - stacks)
        put(.perCPU, sum("Percpu"))
        put(.sockets, pages("sockstat.TCP.mem") + pages("sockstat.UDP.mem"))
        put(.hugePages, bytes("Hugetlb") ?? 0)
        if bytes("Hugetlb") == nil, let count = value("meminfo.HugePages_Total", system),
            let size = bytes("Hugepagesize")
        {
            put(.hugePages, min(count, 1 << 20) * min(size, 1 << 31))
        }
        // Pages in the swap cache are mostly mapped and then count as anonymous. Only what the lists have beyond those
        // is separate.
        let listed = sum("Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable")
        put(.swapCache, min(sum("SwapCached"), max(0, listed - anonymous - cached - buffers)))
        put(.compressed, max(pages("vmstat.nr_zspages"), sum("Zswap")))
        put(.writeback, sum("WritebackTmp", "Bounce"))
        put(.graphics, sum("GPUActive", "GPUReclaim"))
        put(.corrupted, sum("HardwareCorrupted"))
        put(.pageLists, pages("zoneinfo.pagesOnLists"))
        return MemoryPicture(
            total: total, free: free, classes: classes, unexplained: total - free - classes.reduce(0, +),
            available: bytes("MemAvailable") ?? free + sum("Cached", "Buffers"), swapFree: sum("SwapFree"),
            isPartial: bytes("AnonPages") == nil)
    }

    /// Free memory and caches in bytes, as vmstat prints them, if no total is known.
    func availableWithoutTotal(_ system: DecodedEntity) -> Double? {
        guard let free = value("meminfo.MemFree", system) else { return nil }
        return ["meminfo.Buffers", "meminfo.Cached"].reduce(Double(free)) { $0 + Double(value($1, system) ?? 0) } * 1024
    }
}
