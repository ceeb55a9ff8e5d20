// /proc/slabinfo, as described in proc(5): one line for each cache, with the objects in use and the bytes of one.
//
//     slabinfo - version: 2.1
//     # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables …
//     kmalloc-64             12345      12608        64         64            1        : tunables 0 0 0 : slabdata 197
//     197 0
//
// A row is a cache: its only frame is the cache's name. Each heading begins a set, because people append the file to a
// log.

import Reduce

struct SlabinfoLog: LogFormat {
    static var name: String { "slabinfo" }
    static var heading: StaticString? { "slabinfo - version:" }
    static var isOfKernel: Bool { true }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        entry(text, start, text.lineEnd(from: start)) != nil
    }
    static func recognizes(_ line: LogLine) -> Bool {
        line.contains("slabinfo - version:") || entry(line.text, line.start, line.end) != nil
    }

    /// The cache's name, its objects in use, and the bytes of one; nil for other lines.
    private static func entry(
        _ text: LogText, _ start: Int, _ end: Int
    ) -> (name: Range<Int>, objects: UInt64, objectBytes: UInt64)? {
        guard text.find(" : tunables ", from: start, to: end) != nil else { return nil }
        let message = KernelMessage(text, start, end)
        let nameEnd = text.wordEnd(message.start, message.end)
        var place = text.skipBlanks(nameEnd, message.end), numbers: [UInt64] = []
        while numbers.count < 3, let number = text.decimal(&place, message.end), text[place] == 0x20 {
            numbers.append(number)
            place = text.skipBlanks(place, message.end)
        }
        return numbers.count == 3 && nameEnd > message.start ? (message.start ..< nameEnd, numbers[0], numbers[2]) : nil
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { start, end, offset in
            if let (name, objects, objectBytes) = Self.entry(text, start, end) {
                tally.recordsRead &+= 1
                let (bytes, over) = objects.multipliedReportingOverflow(by: objectBytes)
                guard objects > 0 else { return }
                let frame = tally.frame(of: text.raw(name.lowerBound, name.upperBound)) {
                    LogFrame(name: text.bytes(name.lowerBound, name.upperBound))
                }
                tally.add(row: tally.row([frame]), bytes: over ? .max : bytes, blocks: objects, at: offset)
            } else if text.find(" <active_objs> ", from: start, to: end) == nil,
                text.find("slabinfo - version:", from: start, to: end) == nil,
                text.skipBlanks(start, end) < text.trimmedEnd(start, end)
            {
                let isWhole = segment.isWhole(end)
                tally.notes.add(isWhole ? .notUnderstood : .cutRecord, at: offset)
                if !isWhole { tally.recordsLost &+= 1 }
            }
        }
    }
}
