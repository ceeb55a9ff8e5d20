// The output of perf script for allocation events with their call chains (perf record -g): the kernel's kmem:*
// tracepoints, and probes of libc's malloc and free (perf probe -x libc.so.6):
//
//     names  4711 [001]  123.456789: kmem:kmalloc: call_site=f+0x1 ptr=0xffff888004a5d000 bytes_req=24 bytes_alloc=32
//     gfp_flags=GFP_KERNEL
//             ffffffff8127a3c1 __kmalloc+0x111 ([kernel.kallsyms])
//             ffffffff81301234 seq_open+0x24 ([kernel.kallsyms])
//
// A free cancels its allocation; the rest is live. malloc's probe has the size, its return (malloc__return) the
// address; they are matched by thread. Allocations from before the recording are not in the log.

import Reduce

struct PerfScriptLog: LogFormat {
    static var name: String { "perf-script" }
    static var isSequential: Bool { true }
    static var isOfKernel: Bool { true }

    private struct Block { var bytes: UInt64, row: Int, offset: UInt64 }
    private enum Event {
        case allocation(address: UInt64, bytes: UInt64, space: UInt8), free(address: UInt64, space: UInt8), entry(
            thread: UInt64, bytes: UInt64), exit(thread: UInt64, address: UInt64), other
    }
    private struct Key: Hashable { var address: UInt64, space: UInt8 }

    private var live: [Key: Block] = [:]
    private var entries: [UInt64: (bytes: UInt64, stack: [UInt32])] = [:]
    private var event: Event?
    private var start: UInt64 = 0
    private var stack: [UInt32] = []
    private var pageBytes = KernelFacts().pageBytes

    init() {}
    init(file: String, kernel: KernelFacts) { pageBytes = kernel.pageBytes }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { true }

    static func recognizes(_ line: LogLine) -> Bool { name(line.text, line.start, line.end) != nil }

    /// The place of the event's name: `kmem:kmalloc:`, `probe_libc:malloc:`, after a time.
    private static func name(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        guard text[start] != 0x09, text.find(byte: 0x3A, from: start, to: end) != nil else { return nil }
        for prefix: StaticString in [": kmem:", ": probe_libc:", ": probe_libpthread:", ": probe:", ": sdt_libc:"] {
            if let found = text.find(prefix, from: start, to: end), text[found - 1] &- 0x30 < 10 { return found + 2 }
            // perf pads the event's name.
            if let found = text.find("kmem:", from: start, to: end), found > start + 2, text[found - 1] == 0x20 {
                return found
            }
            if let found = text.find("probe_libc:", from: start, to: end), found > start + 2, text[found - 1] == 0x20 {
                return found
            }
        }
        return nil
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { readLine(text, $0, text.trimmedEnd($0, $1), $2, tally) }
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ end: Int, _ offset: UInt64, _ tally: Tally) {
        let start = text.skipBlanks(line, end)
        if start >= end { return endEvent(tally) }
        if text[line] == 0x23 { return }
        if let name = Self.name(text, line, end) {
            endEvent(tally)
            self.start = offset
            event = Self.event(text, line, name, end, pageBytes)
            if event == nil {
                tally.notes.add(.badRecord, at: offset)
                tally.recordsLost &+= 1
            }
        } else if event != nil, let frame = Self.frame(text, start, end) {
            if stack.count < mostFrames { stack.append(tally.frame(of: text.raw(start, end)) { frame }) }
        } else if event == nil || start == line {
            tally.notes.add(.outside, at: offset)
        }
    }

    /// `ffffffff8127a3c1 __kmalloc+0x111 ([kernel.kallsyms])`.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var place = start, end = end
        guard let address = text.hexadecimal(&place, end), text[place] == 0x20 else { return nil }
        var frame = LogFrame(address: address)
        place = text.skipBlanks(place, end)
        if text[end - 1] == 0x29 {
            var open = end - 1
            while open > place, !(text[open] == 0x28 && text[open - 1] == 0x20) { open -= 1 }
            frame.module = text.bytes(open + 1, end - 1)
            end = text.trimmedEnd(place, open)
        }
        // [kernel.kallsyms] is the kernel itself, not a module.
        if frame.module.starts(with: Array("[kernel".utf8)) {
            frame.module = []
        } else if frame.module.first == 0x5B, frame.module.last == 0x5D {
            frame.module = Array(frame.module.dropFirst().dropLast())
        }
        if let plus = text.find("+0x", from: place, to: end) {
            var offset = plus + 1
            frame.symbolOffset = text.prefixedHexadecimal(&offset, end)
            end = plus
        }
        if !text.has("[unknown]", at: place) {
            frame.name = text.bytes(place, end)
        } else if frame.module.first == 0x2F {
            frame.moduleOffset = address
        }
        return frame
    }

    private static func event(
        _ text: LogText, _ line: Int, _ name: Int, _ end: Int, _ pageBytes: UInt64
    ) -> Event? {
        let colon = text.find(byte: 0x3A, from: name, to: end) ?? end
        let word = colon + 1
        let wordEnd = text.find(byte: 0x3A, from: word, to: end) ?? end
        let event = String(decoding: text.raw(word, wordEnd), as: UTF8.self), rest = wordEnd + 1
        if text.has("kmem:", at: name) {
            switch event {
            case "kmalloc", "kmalloc_node", "kmem_cache_alloc", "kmem_cache_alloc_node":
                guard let address = field(["ptr="], text, rest, end),
                    let bytes = field(["bytes_alloc=", "bytes_req="], text, rest, end)
                else { return nil }
                return address == 0 ? .other : .allocation(address: address, bytes: bytes, space: 0)
            case "kfree", "kmem_cache_free":
                return field(["ptr="], text, rest, end).map { .free(address: $0, space: 0) }
            case "mm_page_alloc":
                guard let frame = field(["pfn="], text, rest, end), let order = field(["order="], text, rest, end),
                    order < 32
                else { return nil }
                return .allocation(address: frame, bytes: pageBytes << order, space: 1)
            case "mm_page_free": return field(["pfn="], text, rest, end).map { .free(address: $0, space: 1) }
            default: return .other
            }
        }
        guard let thread = thread(text, line, name) else { return nil }
        let isReturn = event.hasSuffix("__return")
        let function = event.split(separator: "_").first.map(String.init) ?? event
        let value = field(["size=", "bytes=", "ret=", "ptr=", "mem=", "addr=", "arg1="], text, rest, end)
        switch function {
        case "malloc", "calloc", "realloc", "memalign":
            return value.map { isReturn ? .exit(thread: thread, address: $0) : .entry(thread: thread, bytes: $0) }
        case "free": return isReturn ? .other : value.map { .free(address: $0, space: 2) }
        default: return .other
        }
    }

    /// The number after the first of the names that is present: hexadecimal after 0x or if it has letters.
    private static func field(_ names: [StaticString], _ text: LogText, _ start: Int, _ end: Int) -> UInt64? {
        for name in names {
            guard let found = text.find(name, from: start, to: end) else { continue }
            var place = found + name.utf8CodeUnitCount
            let first = place
            if text.has("(nil)", at: place) { return 0 }
            if let value = text.number(&place, end), place == end || text[place] == 0x20 { return value }
            place = first
            if let value = text.hexadecimal(&place, end) { return value }
        }
        return nil
    }

    /// The thread's number: the last one before the processor's bracket or the time.
    private static func thread(_ text: LogText, _ line: Int, _ name: Int) -> UInt64? {
        var place = line, last: UInt64?
        while place < name {
            let start = text.skipBlanks(place, name), end = text.wordEnd(start, name)
            if text[start] == 0x5B { break }
            var digits = start
            if let number = text.decimal(&digits, end) {
                if digits == end {
                    last = number
                } else if text[digits] == 0x2F {
                    digits += 1
                    if let thread = text.decimal(&digits, end), digits == end { last = thread }
                } else if text[digits] == 0x2E {
                    break
                }
            }
            if end >= name { break }
            place = end
        }
        return last
    }

    private mutating func endEvent(_ tally: Tally) {
        defer { (event, stack) = (nil, []) }
        guard let event else { return }
        tally.recordsRead &+= 1
        switch event {
        case .allocation(let address, let bytes, let space):
            book(Key(address: address, space: space), Block(bytes: bytes, row: tally.row(stack), offset: start), tally)
        case .free(let address, let space):
            if address == 0 { return }
            tally.freed &+= 1
            if live.removeValue(forKey: Key(address: address, space: space)) == nil {
                tally.notes.add(.freedUnseen, at: start)
            }
        case .entry(let thread, let bytes): entries[thread] = (bytes, stack)
        case .exit(let thread, let address):
            guard let entry = entries.removeValue(forKey: thread), address != 0 else { return }
            // At its entry a function has no frame yet, so chains of frame pointers are cut there. At its return they
            // are complete.
            let whole = stack.count >= entry.stack.count - 1 ? entry.stack.prefix(1) + stack : entry.stack[...]
            book(
                Key(address: address, space: 2), Block(bytes: entry.bytes, row: tally.row(Array(whole)), offset: start),
                tally)
        case .other: return
        }
    }

    private mutating func book(_ key: Key, _ block: Block, _ tally: Tally) {
        if live.updateValue(block, forKey: key) != nil { tally.notes.add(.bookedTwice, at: block.offset) }
    }

    mutating func finish(into tally: Tally) {
        endEvent(tally)
        for block in live.values.sorted(by: { $0.offset < $1.offset }) {
            tally.add(row: block.row, bytes: block.bytes, at: block.offset)
        }
        // Calls of malloc without an address: how much is live can't be known.
        if !entries.isEmpty && live.isEmpty { tally.notes.add(.noAddresses, at: start, count: UInt64(entries.count)) }
    }
}
