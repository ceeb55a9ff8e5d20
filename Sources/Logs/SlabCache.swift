// Object sizes of slab caches, by their names: of kmalloc caches, and of any cache of the running kernel.

import Glibc

/// A slab cache that the user names: `kmalloc-128`, or `dentry=192` with the size of its objects.
package struct SlabCache: Sendable {
    package var name: String
    package var objectBytes: UInt64

    /// - Returns: nil if the size is not given and neither the name nor the running kernel tells it.
    package init?(_ argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        name = String(parts[0])
        guard !name.isEmpty else { return nil }
        let size =
            parts.count > 1 ? UInt64(parts[1]) : Self.kmallocBytes(Array(name.utf8)) ?? Self.runningObjectSize(name)
        guard let size, size > 0 else { return nil }
        objectBytes = size
    }

    /// The size of a kmalloc cache's objects: kmalloc-64, kmalloc-rcl-1k, dma-kmalloc-512, kmalloc-rnd-05-96,
    /// kmalloc-8M. A control group's cache ends with the group's name: kmalloc-128(522:mail.service).
    static func kmallocBytes(_ name: [UInt8]) -> UInt64? {
        let name = name.prefix { $0 != 0x28 }
        guard name.firstRange(of: Array("kmalloc-".utf8)) != nil, let dash = name.lastIndex(of: 0x2D) else {
            return nil
        }
        var digits = name[(dash + 1)...]
        var shift: UInt64 = 0
        if let unit = digits.last, unit | 0x20 == 0x6B || unit | 0x20 == 0x6D {
            shift = unit | 0x20 == 0x6B ? 10 : 20
            digits = digits.dropLast()
        }
        guard !digits.isEmpty, digits.count < 9, digits.allSatisfy({ $0 &- 0x30 < 10 }) else { return nil }
        return digits.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) } << shift
    }

    /// The same for a kmalloc cache's name inside a file name: kmalloc-128.alloc_traces, traces-kmalloc-1k.txt.
    static func kmallocBytes(within name: [UInt8]) -> UInt64? {
        guard let found = name.firstRange(of: Array("kmalloc-".utf8)) else { return nil }
        let isPart: (UInt8) -> Bool = { $0 &- 0x30 < 10 || $0 | 0x20 &- 0x61 < 26 || $0 == 0x2D }
        var word = name[found.lowerBound...].prefix(while: isPart)
        while !word.isEmpty {
            if let bytes = kmallocBytes(Array(word)) { return bytes }
            guard let dash = word.lastIndex(of: 0x2D) else { return nil }
            word = word[..<dash]
        }
        return nil
    }

    /// The object size of one of the running kernel's caches.
    static func runningObjectSize(_ cache: String) -> UInt64? {
        guard !cache.contains("/"), let size = fopen("/sys/kernel/slab/\(cache)/object_size", "re") else { return nil }
        defer { fclose(size) }
        var bytes = [CChar](repeating: 0, count: 32)
        guard fgets(&bytes, 32, size) != nil else { return nil }
        return UInt64(String(decoding: bytes.prefix { $0 >= 0x30 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }
}
