// /sys/kernel/debug/slab/CACHE/alloc_traces, as Documentation/mm/slub.rst and mm/slub.c have it; and the
// older /sys/kernel/slab/CACHE/alloc_calls, whose lines have no backtrace:
//
//     338 pci_alloc_dev+0x2c/0xa0 waste=521872/1544 age=290837/291891/293509 pid=1 cpus=106 nodes=0-1
//         __kmem_cache_alloc_node+0x11f/0x4e0
//         kmalloc_trace+0x26/0xa0
//
// The file tells how many objects, not how large. What one holds is known where the directory is called
// as a kmalloc cache is, or the file is the kernel's own and object_size stands beside it; less the waste
// that the line tells of.

import Glibc
import Reduce

struct AllocTracesLog: LogFormat {
    private var objectBytes: UInt64?
    private var start: UInt64?
    private var blocks: UInt64 = 0
    private var waste: UInt64 = 0
    private var function: UInt32?
    private var stack = KernelStack()

    init() {}

    init(file: String) {
        self.init()
        let parts = file.split(separator: "/")
        guard parts.count >= 2 else { return }
        let cache = String(parts[parts.count - 2])
        objectBytes = SlabCache.kmallocBytes(Array(cache.utf8)) ?? Self.objectSize(ofCache: cache, file: file)
    }

    /// What the kernel says of one of its own caches; nil for a file that isn't its.
    private static func objectSize(ofCache cache: String, file: String) -> UInt64? {
        guard file.hasPrefix("/sys/"), let size = fopen("/sys/kernel/slab/\(cache)/object_size", "re") else { return nil }
        defer { fclose(size) }
        var bytes = [CChar](repeating: 0, count: 32)
        guard fgets(&bytes, 32, size) != nil else { return nil }
        return UInt64(String(decoding: bytes.prefix { $0 >= 0x30 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { entry(text, start, text.lineEnd(from: start)) != nil }

    /// Where the number of objects and the function stand in a line that begins a record.
    static func entry(_ text: LogText, _ start: Int, _ end: Int) -> (count: UInt64, function: Int)? {
        var place = text.skipBlanks(start, end)
        guard let count = text.decimal(&place, end), text[place] == 0x20 else { return nil }
        let function = text.skipBlanks(place, end), functionEnd = text.wordEnd(function, end)
        guard text.has("<not-available>", at: function) || text.find("+0x", from: function, to: functionEnd) != nil,
              text.find("age=", from: functionEnd, to: end) != nil || functionEnd == text.trimmedEnd(function, end)
                || text.find("waste=", from: functionEnd, to: end) != nil || text.find(" pid=", from: functionEnd, to: end) != nil
                || text[text.skipBlanks(functionEnd, end)] == 0x5B else { return nil }
        return (count, function)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        var place = segment.start
        while place < segment.end {
            let end = min(text.lineEnd(from: place), segment.end)
            readLine(text, place, end, base, tally, isWhole: end < segment.end || !segment.endsSet)
            place = end + 1
        }
        endRecord(tally)
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ base: UInt64, _ tally: Tally, isWhole: Bool) {
        let start = text.skipBlanks(line, lineEnd), end = text.trimmedEnd(start, lineEnd)
        if start >= end { return }
        if let entry = Self.entry(text, start, end) {
            endRecord(tally)
            self.start = base &+ UInt64(line)
            blocks = entry.count
            if !text.has("<not-available>", at: entry.function) {
                let nameEnd = text.find(" age=", from: entry.function, to: end) ?? end
                let functionEnd = min(nameEnd, text.find(" waste=", from: entry.function, to: end) ?? nameEnd)
                function = KernelFrame(text, entry.function, functionEnd).map { tally.number(of: $0.frame) }
            }
            waste = 0
            if let field = text.find(" waste=", from: entry.function, to: end), var place = text.find(byte: 0x2F, from: field, to: end) {
                place += 1
                waste = text.decimal(&place, end) ?? 0
            }
        } else if self.start == nil {
            tally.notes.add(.outside, at: base &+ UInt64(line))
        } else if !stack.take(text, start, end, tally) {
            tally.notes.add(isWhole ? .notUnderstood : .cutRecord, at: base &+ UInt64(line))
        }
    }

    private mutating func endRecord(_ tally: Tally) {
        defer {
            (start, function, blocks) = (nil, nil, 0)
            stack.clear()
        }
        guard let start, blocks > 0 else { return }
        var bytes: UInt64 = 0
        if let objectBytes {
            let (product, overflow) = blocks.multipliedReportingOverflow(by: objectBytes >= waste ? objectBytes - waste : 0)
            bytes = overflow ? .max : product
        } else {
            tally.notes.add(.sizeUnknown, at: start, count: blocks)
        }
        let frames = stack.isEmpty ? function.map { [$0] } ?? [] : stack.frames(tally)
        tally.add(row: tally.row(frames), bytes: bytes, blocks: blocks, at: start)
    }
}

/// What is known of slab caches by their names.
enum SlabCache {
    /// The size of a kmalloc cache's objects: kmalloc-64, kmalloc-rcl-1k, dma-kmalloc-512, kmalloc-rnd-05-96, kmalloc-8M.
    static func kmallocBytes(_ name: [UInt8]) -> UInt64? {
        guard name.firstRange(of: Array("kmalloc-".utf8)) != nil, let dash = name.lastIndex(of: 0x2D) else { return nil }
        var digits = name[(dash + 1)...]
        var shift: UInt64 = 0
        if let unit = digits.last, unit | 0x20 == 0x6B || unit | 0x20 == 0x6D {
            shift = unit | 0x20 == 0x6B ? 10 : 20
            digits = digits.dropLast()
        }
        guard !digits.isEmpty, digits.count < 9, digits.allSatisfy({ $0 &- 0x30 < 10 }) else { return nil }
        return digits.reduce(UInt64(0)) { $0 * 10 + UInt64($1 - 0x30) } << shift
    }
}
