// /sys/kernel/debug/slab/CACHE/alloc_traces, as described in Documentation/mm/slub.rst and mm/slub.c; and the older
// /sys/kernel/slab/CACHE/alloc_calls, whose lines have no backtrace:
//
//     338 pci_alloc_dev+0x2c/0xa0 waste=521872/1544 age=290837/291891/293509 pid=1 cpus=106 nodes=0-1
//         __kmem_cache_alloc_node+0x11f/0x4e0
//         kmalloc_trace+0x26/0xa0
//
// The file has the number of objects, not their size. The size is known from the cache's name if it is a kmalloc cache,
// or from the running kernel if the file is its own; the line's waste is subtracted. The name comes from the directory,
// the file's name (kmalloc-128.alloc_traces), a heading, or the user. A heading is what tail and head print above each
// of several files, what grep prints before each line, a shell's command line, or just the path or name.

import Glibc
import Reduce

struct AllocTracesLog: LogFormat {
    static var name: String { "alloc-traces" }
    static var isOfKernel: Bool { true }
    static var mayBeEmpty: Bool { true }
    static var isSequential: Bool { true }

    private var objectBytes: UInt64?
    private var isGiven = false
    private var isOwn = false
    private var start: UInt64?
    private var blocks: UInt64 = 0
    private var waste: UInt64 = 0
    private var function: UInt32?
    private var stack = KernelStack()

    init() {}

    init(file: String, kernel: KernelFacts) {
        isOwn = file.hasPrefix("/sys/")
        if let cache = kernel.cache {
            objectBytes = cache.objectBytes
            isGiven = true
            return
        }
        let parts = file.split(separator: "/")
        if parts.count >= 2 { objectBytes = bytes(ofCache: Array(parts[parts.count - 2].utf8)) }
        if objectBytes == nil, let name = parts.last { objectBytes = SlabCache.kmallocBytes(within: Array(name.utf8)) }
    }

    private func bytes(ofCache name: [UInt8]) -> UInt64? {
        SlabCache.kmallocBytes(name)
            ?? (isOwn ? SlabCache.runningObjectSize(String(decoding: name, as: UTF8.self)) : nil)
    }

    static func refusal(ofFile name: String) -> String? {
        name.hasSuffix("free_traces") || name.hasSuffix("free_calls")
            ? "traces of frees hold nothing; alloc_traces beside it has what is live" : nil
    }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        let message = KernelMessage(text, start, text.lineEnd(from: start))
        return entry(text, message.start, message.end) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool {
        let (text, start, end) = (line.text, line.start, line.end)
        let message = KernelMessage(text, start, end)
        return entry(text, message.start, message.end) != nil || cacheOfPath(text, message.start, message.end) != nil
    }

    /// For a cache that holds nothing, the kernel prints only this.
    static func recognizes(head: LogText) -> Bool {
        head.count < 16 && isEmptyCache(head, 0, head.trimmedEnd(0, head.lineEnd(from: 0)))
    }

    private static func isEmptyCache(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        end - start == 7 && text.has("No data", at: start)
    }

    /// Finds the number of objects and the function in a line that begins a record.
    static func entry(_ text: LogText, _ start: Int, _ end: Int) -> (count: UInt64, function: Int)? {
        var place = text.skipBlanks(start, end)
        guard let count = text.decimal(&place, end), text[place] == 0x20 else { return nil }
        let function = text.skipBlanks(place, end), functionEnd = text.wordEnd(function, end)
        guard text.has("<not-available>", at: function) || text.find("+0x", from: function, to: functionEnd) != nil,
            text.find("age=", from: functionEnd, to: end) != nil || functionEnd == text.trimmedEnd(function, end)
                || text.find("waste=", from: functionEnd, to: end) != nil
                || text.find(" pid=", from: functionEnd, to: end) != nil
                || text[text.skipBlanks(functionEnd, end)] == 0x5B
        else { return nil }
        return (count, function)
    }

    /// The cache in `…/slab/CACHE/alloc_traces`, and the place after that path; nil if the line has no such path.
    private static func cacheOfPath(_ text: LogText, _ start: Int, _ end: Int) -> (name: [UInt8], after: Int)? {
        let names: [StaticString] = ["/alloc_traces", "/alloc_calls"]
        for name in names {
            guard let place = text.find(name, from: start, to: end) else { continue }
            var first = place
            while first > start, case let byte = text[first - 1], byte != 0x2F, byte != 0x20, byte != 0x09 {
                first -= 1
            }
            if first < place { return (text.bytes(first, place), place + name.utf8CodeUnitCount) }
        }
        return nil
    }

    /// A line that has only a kmalloc cache's name, maybe with a colon or other signs around it.
    private static func lonelyCache(_ text: LogText, _ start: Int, _ end: Int) -> [UInt8]? {
        guard end - start < 80, text.find("kmalloc-", from: start, to: end) != nil else { return nil }
        let marks: [UInt8] = Array("=:#<>[]-* \t".utf8)
        var first = start, last = end
        while first < last, marks.contains(text[first]) { first += 1 }
        while last > first, marks.contains(text[last - 1]) { last -= 1 }
        let name = text.bytes(first, last)
        return name.contains(0x20) || SlabCache.kmallocBytes(name) == nil ? nil : name
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        let lines = KernelLines(text, segment)
        while let line = lines.next() { readLine(line, base, tally) }
        endRecord(tally)
    }

    private mutating func readLine(_ line: KernelLine, _ base: UInt64, _ tally: Tally) {
        let text = line.text, end = line.message.end, offset = base &+ UInt64(line.start)
        var start = line.message.start
        if start >= end { return }
        if Self.isEmptyCache(text, start, end) {
            endRecord(tally)
            tally.recordsRead &+= 1
            return
        }
        if let (name, after) = Self.cacheOfPath(text, start, end) {
            let bytes = bytes(ofCache: name)
            if text[after] == 0x3A, text.skipBlanks(after + 1, end) < end {
                // grep: the path, then the line.
                start = text.skipBlanks(after + 1, end)
                if Self.entry(text, start, end) != nil {
                    endRecord(tally)
                    if !isGiven { objectBytes = bytes }
                }
            } else {
                endRecord(tally)
                if !isGiven { objectBytes = bytes }
                return
            }
        } else if let name = Self.lonelyCache(text, start, end) {
            endRecord(tally)
            if !isGiven { objectBytes = SlabCache.kmallocBytes(name) }
            return
        }
        if let entry = Self.entry(text, start, end) {
            endRecord(tally)
            self.start = offset
            blocks = entry.count
            if !text.has("<not-available>", at: entry.function) {
                let nameEnd = text.find(" age=", from: entry.function, to: end) ?? end
                let functionEnd = min(nameEnd, text.find(" waste=", from: entry.function, to: end) ?? nameEnd)
                function = KernelFrame(text, entry.function, functionEnd).map { tally.number(of: $0.frame) }
            }
            waste = 0
            if let field = text.find(" waste=", from: entry.function, to: end),
                var place = text.find(byte: 0x2F, from: field, to: end)
            {
                place += 1
                waste = text.decimal(&place, end) ?? 0
            }
        } else if self.start == nil {
            tally.notes.add(.outside, at: offset)
        } else if !stack.take(text, start, end, tally) {
            tally.notes.add(line.isWhole ? .notUnderstood : .cutRecord, at: offset)
        }
    }

    private mutating func endRecord(_ tally: Tally) {
        defer {
            (start, function, blocks) = (nil, nil, 0)
            stack.clear()
        }
        guard let start else { return }
        tally.recordsRead &+= 1
        guard blocks > 0 else { return }
        let row = tally.row(stack.isEmpty ? function.map { [$0] } ?? [] : stack.frames(tally))
        guard let objectBytes else {
            tally.notes.add(.sizeUnknown, at: start, count: blocks)
            tally.addOfUnknownSize(row: row, blocks: blocks, at: start)
            return
        }
        let (product, overflow) = blocks.multipliedReportingOverflow(by: objectBytes >= waste ? objectBytes - waste : 0)
        tally.add(row: row, bytes: overflow ? .max : product, blocks: blocks, at: start)
    }
}
