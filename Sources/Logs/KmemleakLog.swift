// /sys/kernel/debug/kmemleak, as described in Documentation/dev-tools/kmemleak.rst and mm/kmemleak.c:
//
//     unreferenced object 0xffff888105a65340 (size 64):
//       comm "mount", pid 710, jiffies 4302851558 (age 58.239s)
//       hex dump (first 32 bytes):
//         00 00 …
//       backtrace (crc d2b2d3):
//         [<ffffffff859c45e5>] kmem_cache_alloc_trace+0x475/0x8a0
//
// Older kernels have no crc, newer ones no age and no addresses in the backtrace. With kmemleak.verbose the kernel's
// log has the same, each line after "kmemleak: "; then lines without these words belong to others.

import Reduce

struct KmemleakLog: LogFormat {
    static var name: String { "kmemleak" }
    static var isOfKernel: Bool { true }
    static var mayBeEmpty: Bool { true }
    private enum Part { case outside, head, dump, backtrace }
    private var part = Part.outside
    private var start: UInt64 = 0
    private var size: UInt64?
    private var age: Double?
    private var hasBacktrace = false
    /// The record's first line had "kmemleak: " before it.
    private var isPrinted = false
    private var stack = KernelStack()

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        text.find("unreferenced object", from: start, to: text.lineEnd(from: start)) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool {
        line.contains("unreferenced object") || line.contains("new suspected memory leaks")
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        let lines = KernelLines(text, segment)
        while let line = lines.next() { readLine(line, base, tally) }
        endRecord(tally, isCut: segment.endsSet && !hasBacktrace)
    }

    private mutating func readLine(_ line: KernelLine, _ base: UInt64, _ tally: Tally) {
        let text = line.text, end = line.message.end, offset = base &+ UInt64(line.start)
        var start = line.message.start
        if start >= end { return }
        let isPrinted = text.has("kmemleak: ", at: start)
        if isPrinted { start = text.skipBlanks(start + 10, end) }
        if text.has("unreferenced object", at: start) || part == .outside,
            let object = text.find("unreferenced object", from: start, to: end)
        {
            endRecord(tally, isCut: false)
            part = .head
            self.isPrinted = isPrinted
            self.start = offset
            size = line.isWhole ? Self.size(text, object, end) : nil
            return
        }
        // The kernel's summary adds nothing if its records are in the log.
        if text.find("new suspected memory leaks", from: start, to: end) != nil, part != .outside {
            endRecord(tally, isCut: false)
            return
        }
        if self.isPrinted && !isPrinted {
            tally.notes.add(.outside, at: offset)
            return
        }
        switch part {
        case .outside:
            tally.notes.add(.outside, at: offset)
        case .head, .dump:
            if text.has("backtrace", at: start) {
                part = .backtrace
                hasBacktrace = true
            } else if text.has("hex dump", at: start) {
                part = .dump
            } else if text.has("comm ", at: start) {
                age = Self.age(text, start, end)
            } else if part == .head {
                tally.notes.add(.notUnderstood, at: offset)
            }
        case .backtrace:
            if stack.take(text, start, end, tally) { return }
            tally.notes.add(line.isWhole ? .notUnderstood : .cutRecord, at: offset)
        }
    }

    private mutating func endRecord(_ tally: Tally, isCut: Bool) {
        defer {
            part = .outside
            (size, age, hasBacktrace) = (nil, nil, false)
            stack.clear()
        }
        guard part != .outside else { return }
        guard let size else {
            tally.notes.add(isCut ? .cutRecord : .badRecord, at: start)
            tally.recordsLost &+= 1
            return
        }
        if isCut { tally.notes.add(.cutRecord, at: start) }
        let row = tally.row(stack.isEmpty && isCut ? [tally.number(of: .cut)] : stack.frames(tally))
        tally.add(row: row, bytes: size, at: start)
        if let age { tally.addAge(row: row, seconds: age) }
    }

    /// The size in `unreferenced object 0x… (size N):`.
    private static func size(_ text: LogText, _ start: Int, _ end: Int) -> UInt64? {
        guard let size = text.find("(size ", from: start, to: end), text.find(" 0x", from: start, to: size) != nil
        else { return nil }
        var place = size + 6
        guard let value = text.decimal(&place, end), text[place] == 0x29 else { return nil }
        return value
    }

    /// The age in `comm "…", pid N, jiffies N (age 58.239s)`; searched from the end, because the name may contain
    /// anything.
    private static func age(_ text: LogText, _ start: Int, _ end: Int) -> Double? {
        var found: Int?, from = start
        while let place = text.find("(age ", from: from, to: end) { (found, from) = (place + 5, place + 5) }
        guard var place = found, let whole = text.decimal(&place, end) else { return nil }
        var seconds = Double(whole)
        if text[place] == 0x2E {
            place += 1
            var scale = 0.1
            while place < end, case let digit = text[place] &- 0x30, digit < 10 {
                seconds += Double(digit) * scale
                scale /= 10
                place += 1
            }
        }
        return seconds
    }
}
