// The reports of memleak, from bcc (tools/memleak.py) and libbpf-tools (memleak.c), for a process or the kernel:
//
//     [11:16:33] Top 2 stacks with outstanding allocations:
//             960 bytes in 15 allocations from stack
//                     0x000055d4c7a2a1c9      keep_name+0x1d [names]
//                     main+0x6d [names]
//
// Each heading begins a set, and the newest set counts. A set has only the largest stacks (-T); the heading says how
// many.

import Reduce

struct BCCMemleakLog: LogFormat {
    static var name: String { "bcc-memleak" }
    static var heading: StaticString? { "] Top " }
    static var isOfKernel: Bool { true }

    private var start: UInt64?
    private var bytes: UInt64 = 0
    private var blocks: UInt64 = 0
    private var stack: [UInt32] = []

    static func isHeading(_ text: LogText, at place: Int) -> Bool {
        text.find(" stacks with outstanding allocations", from: place, to: min(place + 64, text.lineEnd(from: place)))
            != nil
    }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        entry(text, start, text.lineEnd(from: start)) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool {
        entry(line.text, line.start, line.end) != nil || line.contains(" stacks with outstanding allocations")
    }

    /// `960 bytes in 15 allocations from stack`.
    private static func entry(_ text: LogText, _ start: Int, _ end: Int) -> (bytes: UInt64, blocks: UInt64)? {
        var place = text.skipBlanks(start, end)
        guard let bytes = text.decimal(&place, end), text.has(" bytes in ", at: place) else { return nil }
        place += 10
        guard let blocks = text.decimal(&place, end), text.has(" allocations from stack", at: place) else { return nil }
        return (bytes, blocks)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { readLine(text, $0, $1, $2, tally) }
        endRecord(tally)
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ offset: UInt64, _ tally: Tally) {
        let start = text.skipBlanks(line, lineEnd), end = text.trimmedEnd(start, lineEnd)
        if start >= end { return }
        if let (bytes, blocks) = Self.entry(text, start, end) {
            endRecord(tally)
            (self.start, self.bytes, self.blocks) = (offset, bytes, blocks)
        } else if text.has("addr = ", at: start) || text.has("] Top ", at: start) {
            // Single blocks of -a, which are included in the stacks' sums.
            return
        } else if self.start != nil, let frame = Self.frame(text, start, end) {
            if stack.count < mostFrames { stack.append(tally.frame(of: text.raw(start, end)) { frame }) }
        } else if text[start] == 0x5B && text[start + 1] &- 0x30 < 10 && end - start < 12 {
            // Text before the next set's heading.
            return
        } else {
            endRecord(tally)
            tally.notes.add(.outside, at: offset)
        }
    }

    private mutating func endRecord(_ tally: Tally) {
        defer { (start, stack) = (nil, []) }
        if let start { tally.add(row: tally.row(stack), bytes: bytes, blocks: blocks, at: start) }
    }

    /// `main+0x6d [names]`, with an address, or a number and an address in brackets, before it; `[unknown]`.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var place = start
        var number = place
        if text.decimal(&number, end) != nil, text[number] == 0x20, text[text.skipBlanks(number, end)] == 0x5B {
            place = text.skipBlanks(number, end)
        }
        var frame = LogFrame()
        if text.has("[<", at: place) {
            var digits = place + 2
            frame.address = text.hexadecimal(&digits, end)
            place = text.skipBlanks((text.find(byte: 0x5D, from: place, to: end) ?? end - 1) + 1, end)
        }
        var digits = place
        if let address = text.prefixedHexadecimal(&digits, end),
            digits == end || text[digits] == 0x20 || text[digits] == 0x09
        {
            frame.address = address
            place = text.skipBlanks(digits, end)
        }
        var nameEnd = end
        if text[end - 1] == 0x5D, !text.has("[unknown]", at: place) {
            var open = end - 1
            while open > place, text[open] != 0x5B { open -= 1 }
            frame.module = text.bytes(open + 1, end - 1)
            nameEnd = text.trimmedEnd(place, open)
        }
        if text.has("[unknown]", at: place) {
            nameEnd = place
            let module = text.skipBlanks(place + 9, end)
            if text[module] == 0x5B { frame.module = text.bytes(module + 1, end - 1) }
        }
        if let plus = text.find("+0x", from: place, to: nameEnd) {
            var offset = plus + 1
            frame.symbolOffset = text.prefixedHexadecimal(&offset, nameEnd)
            nameEnd = plus
        }
        frame.name = text.bytes(place, nameEnd)
        // A sentence is not a frame.
        guard !frame.name.contains(0x3A) || frame.symbolOffset != nil || frame.address != nil else { return nil }
        return frame.name.isEmpty && frame.address == nil && frame.module.isEmpty
            ? LogFrame(name: Array("[unknown]".utf8)) : frame
    }
}
