// The reports of LeakSanitizer and of AddressSanitizer's leak check, as compiler-rt's lib/lsan/lsan_common.cpp and
// libsanitizer print them, mixed with other output of a program or a build:
//
//     Direct leak of 7 byte(s) in 1 object(s) allocated from:
//         #0 0x4af01b in malloc (/usr/lib/libasan.so.8+0xb7) (BuildId: c1b…)
//         #1 0x4da26a in keep_name src/names.c:14
//
// Direct and indirect leaks both count as blocks. The reports of several processes are summed.

import Reduce

struct LeakSanitizerLog: LogFormat {
    static var name: String { "lsan" }
    static var isSequential: Bool { true }

    private var start: UInt64?
    private var bytes: UInt64 = 0
    private var blocks: UInt64 = 0
    private var stack: [UInt32] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        leak(text, start, text.lineEnd(from: start)) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool {
        leak(line.text, line.start, line.end) != nil || line.contains("LeakSanitizer: detected memory leaks")
    }

    /// `Direct leak of 7 byte(s) in 1 object(s) allocated from:`, anywhere in the line.
    private static func leak(_ text: LogText, _ start: Int, _ end: Int) -> (bytes: UInt64, blocks: UInt64)? {
        guard var place = text.find("irect leak of ", from: start, to: end).map({ $0 + 14 }),
            let bytes = text.decimal(&place, end),
            text.has(" byte(s) in ", at: place)
        else { return nil }
        place += 12
        guard let blocks = text.decimal(&place, end), text.has(" object(s)", at: place) else { return nil }
        return (bytes, blocks)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { readLine(text, $0, $1, $2, tally) }
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ offset: UInt64, _ tally: Tally) {
        if let (bytes, blocks) = Self.leak(text, line, lineEnd) {
            endRecord(tally)
            (start, self.bytes, self.blocks) = (offset, bytes, blocks)
            return
        }
        let end = text.trimmedEnd(line, lineEnd), first = text.skipBlanks(line, end)
        if text.find("irect leak of ", from: line, to: end) != nil {
            tally.notes.add(.badRecord, at: offset)
            tally.recordsLost &+= 1
            return
        }
        if start != nil, let hash = text.find(byte: 0x23, from: first, to: min(end, first + 64)) {
            guard stack.count < mostFrames else { return }
            if let frame = Self.frame(text, hash, end) {
                stack.append(tally.frame(of: text.raw(hash, end)) { frame })
            } else {
                stack.append(tally.number(of: .cut))
                tally.notes.add(.badFrame, at: offset)
            }
            return
        }
        endRecord(tally)
        if first < end { tally.notes.add(.outside, at: offset) }
    }

    private mutating func endRecord(_ tally: Tally) {
        defer { (start, stack) = (nil, []) }
        if let start { tally.add(row: tally.row(stack), bytes: bytes, blocks: blocks, at: start) }
    }

    mutating func finish(into tally: Tally) { endRecord(tally) }

    /// `#1 0x4da26a in name file:line:column`, or with `(module+0x1234)` in place of the file, or without a name.
    static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var place = start + 1, end = end
        guard text.decimal(&place, end) != nil else { return nil }
        place = text.skipBlanks(place, end)
        guard let address = text.prefixedHexadecimal(&place, end) else { return nil }
        var frame = LogFrame(address: address)
        if let build = text.find(" (BuildId:", from: place, to: end) { end = build }
        if end > place, text[end - 1] == 0x29, let open = lastOpen(text, place, end),
            let plus = text.find("+0x", from: open, to: end)
        {
            var digits = plus + 1
            if let offset = text.prefixedHexadecimal(&digits, end), digits == end - 1 {
                frame.module = text.bytes(open + 1, plus)
                frame.moduleOffset = offset
                end = text.trimmedEnd(place, open)
            }
        }
        guard let word = text.find(" in ", from: place, to: end) else { return frame }
        var name = word + 4, nameEnd = end
        if frame.module.isEmpty {
            // The file is the last word with a colon and a line. A name may contain blanks.
            var last = end
            while last > name, text[last - 1] != 0x20 { last -= 1 }
            if last > name, let (file, line) = source(text, last, end) {
                (frame.file, frame.line) = (file, line)
                nameEnd = text.trimmedEnd(name, last)
            } else if last > name, text[last] == 0x2F {
                frame.file = text.bytes(last, end)
                nameEnd = text.trimmedEnd(name, last)
            }
        }
        name = text.skipBlanks(name, nameEnd)
        frame.name = text.bytes(name, nameEnd)
        if !frame.name.isEmpty { frame.moduleOffset = nil }
        return frame
    }

    private static func lastOpen(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        var place = end - 1
        while place > start { if text[place] == 0x28 { return place } else { place -= 1 } }
        return nil
    }

    /// `file:14` or `file:14:3`.
    static func source(_ text: LogText, _ start: Int, _ end: Int) -> (file: [UInt8], line: UInt32)? {
        var from = start
        while let colon = text.find(byte: 0x3A, from: from, to: end) {
            var digits = colon + 1
            if colon > start, let line = text.decimal(&digits, end), digits == end || text[digits] == 0x3A {
                return (text.bytes(start, colon), UInt32(clamping: line))
            }
            from = colon + 1
        }
        return nil
    }
}
