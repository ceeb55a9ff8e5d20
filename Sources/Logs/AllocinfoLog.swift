// /proc/allocinfo, as described in Documentation/mm/allocation-profiling.rst and Documentation/filesystems/proc.rst:
// one line for each place in the source, with its live bytes and calls.
//
//     allocinfo - version: 1.0
//     #     <size>  <calls> <tag info>
//         14680064     3584 mm/mm_init.c:2530 func:alloc_large_system_hash
//          4292608     1010 drivers/staging/ctagmod/ctagmod.c:20 [ctagmod] func:ctagmod_start
//
// A stack is one frame. Sizes converted by numfmt(1) (2.8M) are accepted, too.

import Reduce

struct AllocinfoLog: LogFormat {
    static var name: String { "allocinfo" }
    static var heading: StaticString? { "allocinfo - version:" }

    struct Entry { var bytes: UInt64, calls: UInt64, tag: Int }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        message(text, start, text.lineEnd(from: start)) != nil
    }

    /// The contents of a line of the table; nil for other lines.
    static func entry(_ text: LogText, _ start: Int, _ end: Int) -> Entry? {
        var place = text.skipBlanks(start, end)
        guard let bytes = size(text, &place, end), text[place] == 0x20 else { return nil }
        place = text.skipBlanks(place, end)
        guard let calls = text.decimal(&place, end), text[place] == 0x20 else { return nil }
        let tag = text.skipBlanks(place, end)
        guard text.find(" func:", from: tag, to: end) != nil else { return nil }
        return Entry(bytes: bytes, calls: calls, tag: tag)
    }

    static func recognizes(_ line: LogLine) -> Bool {
        line.has("allocinfo - version:") || message(line.text, line.start, line.end) != nil
    }

    /// The table's line in [start, end), after anything that a mail or a pager may have added.
    private static func message(_ text: LogText, _ start: Int, _ end: Int) -> (entry: Entry, end: Int)? {
        if let entry = entry(text, start, end) { return (entry, end) }
        let message = KernelMessage(text, start, end)
        return entry(text, message.start, message.end).map { ($0, message.end) }
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { start, end, offset in
            let isWhole = segment.isWhole(end)
            if let (entry, messageEnd) = Self.message(text, start, end) {
                tally.recordsRead &+= 1
                if !isWhole { tally.notes.add(segment.end < text.count ? .cutRecord : .noNewline, at: offset) }
                let frame = tally.frame(of: text.raw(entry.tag, messageEnd)) { Self.frame(text, entry.tag, messageEnd) }
                if entry.calls > 0 || entry.bytes > 0 {
                    tally.add(row: tally.row([frame]), bytes: entry.bytes, blocks: entry.calls, at: offset)
                }
            } else if text[text.skipBlanks(start, end)] != 0x23, !text.has("allocinfo - version:", at: start),
                text.skipBlanks(start, end) < text.trimmedEnd(start, end)
            {
                tally.notes.add(isWhole ? .notUnderstood : .cutRecord, at: offset)
                if !isWhole { tally.recordsLost &+= 1 }
            }
        }
    }

    /// `12288`, or `2.8M` after numfmt.
    private static func size(_ text: LogText, _ place: inout Int, _ end: Int) -> UInt64? {
        guard let whole = text.decimal(&place, end) else { return nil }
        var tenths: UInt64 = 0
        if text[place] == 0x2E {
            place += 1
            let start = place
            guard let fraction = text.decimal(&place, end), place == start + 1 else { return nil }
            tenths = fraction
        }
        var shift: UInt64 = 0
        for (index, unit) in [UInt8(ascii: "K"), UInt8(ascii: "M"), UInt8(ascii: "G"), UInt8(ascii: "T")].enumerated()
        where text[place] == unit {
            shift = UInt64(index + 1) * 10
        }
        if shift == 0 { return tenths == 0 ? whole : nil }
        place += 1
        if text[place] == 0x69 { place += 1 }
        guard whole < 1 << 20 else { return nil }
        return whole << shift + (tenths << shift) / 10
    }

    /// `mm/slub.c:2259 [module] func:alloc_slab_page`.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame {
        var frame = LogFrame()
        var place = start
        while place < end {
            let next = text.wordEnd(place, end)
            if text.has("func:", at: place) {
                frame.name = text.bytes(place + 5, text.trimmedEnd(place + 5, next))
            } else if text[place] == 0x5B {
                frame.module = text.bytes(place + 1, text[next - 1] == 0x5D ? next - 1 : next)
            } else if place == start, let colon = text.find(byte: 0x3A, from: place, to: next) {
                frame.file = text.bytes(place, colon)
                var digits = colon + 1
                frame.line = text.decimal(&digits, next).map { UInt32(clamping: $0) }
            }
            place = text.skipBlanks(next, end)
        }
        return frame
    }
}
