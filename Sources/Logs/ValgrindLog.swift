// Memcheck's leak records, as Valgrind's memcheck/mc_leakcheck.c prints them:
//
//     ==19182== 1,234 (40 direct, 1,194 indirect) bytes in 1 blocks are definitely lost in loss record 2 of 2
//     ==19182==    at 0x483F7B5: malloc (vg_replace_malloc.c:381)
//     ==19182==    by 0x10916E: keep_name (names.c:14)
//     ==19182==    by 0x10918B: main (in /usr/bin/names)
//
// If the log has records of indirectly lost blocks (--show-leak-kinds=all), a record counts with its direct bytes. If
// it has none, their bytes count with the block through which they are lost.

import Reduce

struct ValgrindLog: LogFormat {
    static var name: String { "valgrind" }
    static var isSequential: Bool { true }

    private struct Record { var row: Int, direct: UInt64, indirect: UInt64, blocks: UInt64, offset: UInt64 }
    private var records: [Record] = []
    private var hasIndirect = false
    private var open: Record?
    private var stack: [UInt32] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        text.find(" in loss record ", from: start, to: text.lineEnd(from: start)) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool {
        line.contains(" in loss record ")
            || (line.has("==") && line.contains("All heap blocks were freed -- no leaks are possible"))
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { readLine(text, $0, $1, $2, tally) }
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ lineEnd: Int, _ offset: UInt64, _ tally: Tally) {
        let end = text.trimmedEnd(line, lineEnd)
        guard let start = Self.message(text, line, end) else {
            if text.skipBlanks(line, end) < end { tally.notes.add(.outside, at: offset) }
            return
        }
        if text.find(" in loss record ", from: start, to: end) != nil {
            endRecord(tally)
            guard let record = Self.record(text, start, end, offset) else {
                tally.notes.add(.badRecord, at: offset)
                tally.recordsLost &+= 1
                return
            }
            open = record
            if text.find("indirectly lost", from: start, to: end) != nil { hasIndirect = true }
        } else if open != nil, let frame = Self.frame(text, start, end) {
            if stack.count < mostFrames { stack.append(tally.frame(of: text.raw(start, end)) { frame }) }
        } else {
            endRecord(tally)
            if text.find("All heap blocks were freed", from: start, to: end) != nil { tally.recordsRead &+= 1 }
        }
    }

    /// The text after `==19182== `, maybe with a time: `==00:00:00:01.234 19182== `.
    private static func message(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        var place = text.skipBlanks(start, end)
        if text.has("> ", at: place) { place += 2 }
        guard text.has("==", at: place) || text.has("--", at: place),
            let close = text.find(text[place] == 0x3D ? "==" : "--", from: place + 2, to: min(end, place + 40))
        else { return nil }
        return text.skipBlanks(close + 2, end)
    }

    private static func record(_ text: LogText, _ start: Int, _ end: Int, _ offset: UInt64) -> Record? {
        var place = start
        guard let all = grouped(text, &place, end) else { return nil }
        var record = Record(row: 0, direct: all, indirect: 0, blocks: 0, offset: offset)
        if text.has(" (", at: place) {
            place += 2
            guard let direct = grouped(text, &place, end), text.has(" direct, ", at: place) else { return nil }
            place += 9
            guard let indirect = grouped(text, &place, end), text.has(" indirect)", at: place) else { return nil }
            place += 10
            (record.direct, record.indirect) = (direct, indirect)
        }
        guard text.has(" bytes in ", at: place) else { return nil }
        place += 10
        guard let blocks = grouped(text, &place, end), text.has(" blocks ", at: place) else { return nil }
        record.blocks = blocks
        return record
    }

    /// `1,234`.
    private static func grouped(_ text: LogText, _ place: inout Int, _ end: Int) -> UInt64? {
        guard var value = text.decimal(&place, end) else { return nil }
        while text[place] == 0x2C {
            var next = place + 1
            guard let more = text.decimal(&next, end), next == place + 4, value < 1 << 53 else { break }
            value = value * 1000 + more
            place = next
        }
        return value
    }

    /// `at 0x483F7B5: malloc (vg_replace_malloc.c:381)`, `by 0x10918B: main (in /usr/bin/names)`, `by 0x1: ???`.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        guard text.has("at 0x", at: start) || text.has("by 0x", at: start) else { return nil }
        var place = start + 3, end = end
        guard let address = text.prefixedHexadecimal(&place, end), text[place] == 0x3A else { return nil }
        var frame = LogFrame(address: address)
        let name = text.skipBlanks(place + 1, end)
        if text[end - 1] == 0x29 {
            var open = end - 1
            while open > name, !(text[open] == 0x28 && text[open - 1] == 0x20) { open -= 1 }
            if open > name {
                if text.has("(in ", at: open) {
                    frame.module = text.bytes(open + 4, end - 1)
                } else if let (file, line) = LeakSanitizerLog.source(text, open + 1, end - 1) {
                    (frame.file, frame.line) = (file, line)
                }
                if !frame.module.isEmpty || !frame.file.isEmpty { end = text.trimmedEnd(name, open) }
            }
        }
        if !text.has("???", at: name) { frame.name = text.bytes(name, end) }
        return frame
    }

    private mutating func endRecord(_ tally: Tally) {
        guard var record = open else { return }
        record.row = tally.row(stack)
        records.append(record)
        open = nil
        stack.removeAll(keepingCapacity: true)
    }

    mutating func finish(into tally: Tally) {
        endRecord(tally)
        for record in records {
            tally.add(
                row: record.row, bytes: record.direct &+ (hasIndirect ? 0 : record.indirect), blocks: record.blocks,
                at: record.offset)
        }
    }
}
