// The table that AIX's dbx prints for `malloc allocations`:
//
//     ADDRESS         SIZE HEAP    PID PTHREAD_T CLOCKTIME   SEQ STACK TRACEBACK
//     0x30005d48       104    0  12345 0x1       1763720000   15 0xd01ca874 malloc
//                                                                0x10010700 load_history
//
// A block's first line has its columns and then its first frame; each further frame has its own line. The columns are
// those in the heading, so tables without some of them can be read, too. If the heading separates columns by tabs, one
// tab ends a column, and columns may be empty.

import Reduce

struct DBXLog: LogFormat {
    static var name: String { "dbx" }
    static var heading: StaticString? { "ADDRESS" }
    /// The columns before the traceback.
    struct Columns {
        var count = 7
        /// Tabs separate them.
        var isTabbed = false
        /// The last one is a decimal number, so an address in its place is a frame.
        var endsInNumber = true
    }

    private var columns = Columns()
    private var start: UInt64?
    private var size: UInt64 = 0
    private var stack: [UInt32] = []

    /// A heading is at most a few terminal lines long. The limit bounds hostile lines.
    static func isHeading(_ text: LogText, at place: Int) -> Bool {
        let end = min(place + 512, text.count)
        return isHeadingLine(text, place, text.find(byte: 0x0A, from: place, to: end) ?? end)
    }

    /// True if [start, end) has the words of a heading.
    static func isHeadingLine(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        guard let address = text.find("ADDRESS", from: start, to: end),
            let size = text.find("SIZE", from: address, to: end), text[size - 1] == 0x20 || text[size - 1] == 0x09
        else { return false }
        return text.find("TRACEBACK", from: address, to: end) != nil
    }

    /// A row begins with an address, a size and a heap; a frame has a name after its address.
    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        row(text, start, text.lineEnd(from: start), Columns(count: 3)) != nil
    }

    static func recognizes(_ line: LogLine) -> Bool { isHeadingLine(line.text, line.start, line.end) }

    struct Block { var size: UInt64, rest: Int }

    /// The block with its columns in [start, end), and where its first frame begins.
    static func row(_ text: LogText, _ start: Int, _ end: Int, _ columns: Columns) -> Block? {
        var place = text.skipBlanks(start, end)
        guard text.prefixedHexadecimal(&place, end) != nil, text[place] == 0x20 || text[place] == 0x09 else {
            return nil
        }
        place = text.skipBlanks(place, end)
        guard let size = text.number(&place, end), text[place] == 0x20 || text[place] == 0x09 else { return nil }
        place = text.skipBlanks(place, end)
        for column in 2 ..< max(columns.count, 3) where place < end {
            var after = place
            if column == 2 && (text.number(&after, end) == nil || text.wordEnd(place, end) != after) { return nil }
            if columns.isTabbed {
                place = (text.find(byte: 0x09, from: place, to: end) ?? end) + 1
                continue
            }
            // If the last column is empty, the first frame is in its place.
            if column == columns.count - 1, column > 2, columns.endsInNumber, text[place] == 0x30,
                text[place + 1] | 0x20 == 0x78
            {
                break
            }
            place = text.skipBlanks(text.wordEnd(place, end), end)
        }
        place = min(text.skipBlanks(place, end), end)
        return Block(size: size, rest: place)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { start, end, offset in
            readLine(text, start, end, offset, tally, isWhole: segment.isWhole(end), isCut: segment.end < text.count)
        }
        endRecord(tally)
    }

    private mutating func readLine(
        _ text: LogText, _ line: Int, _ lineEnd: Int, _ offset: UInt64, _ tally: Tally, isWhole: Bool, isCut: Bool
    ) {
        let start = text.skipBlanks(line, lineEnd), end = text.trimmedEnd(start, lineEnd)
        if start >= end { return }
        if Self.isHeadingLine(text, start, end) {
            endRecord(tally)
            columns = Self.columns(text, start, end)
            return
        }
        if let block = Self.row(text, start, end, columns) {
            endRecord(tally)
            if !isWhole && block.rest >= end {
                // The last column may be cut off, and the size, too.
                tally.notes.add(.cutRecord, at: offset, lostBytes: UInt64(end - line))
                tally.recordsLost &+= 1
                return
            }
            self.start = offset
            size = block.size
            if block.rest < end { takeFrame(text, block.rest, end, offset, tally, isWhole: isWhole, isCut: isCut) }
        } else if self.start != nil {
            takeFrame(text, start, end, offset, tally, isWhole: isWhole, isCut: isCut)
        } else if text.has("0x", at: start) {
            tally.notes.add(isWhole ? .badRecord : .cutRecord, at: offset)
            tally.recordsLost &+= 1
        } else {
            tally.notes.add(.outside, at: offset)
        }
    }

    private mutating func takeFrame(
        _ text: LogText, _ start: Int, _ end: Int, _ offset: UInt64, _ tally: Tally, isWhole: Bool, isCut: Bool
    ) {
        guard stack.count < mostFrames else {
            if stack.count == mostFrames { stack.append(tally.number(of: .cut)) }
            tally.notes.add(.longStack, at: offset)
            return
        }
        let frame = Self.frame(text, start, end)
        if !isWhole {
            if let frame, !frame.name.isEmpty { stack.append(tally.number(of: frame)) }
            if isCut || frame?.name.isEmpty != false { stack.append(tally.number(of: .cut)) }
            tally.notes.add(isCut || frame?.name.isEmpty != false ? .cutRecord : .noNewline, at: offset)
            return
        }
        stack.append(tally.frame(of: text.raw(start, end)) { frame ?? .cut })
        if frame == nil { tally.notes.add(.badFrame, at: offset) }
    }

    private mutating func endRecord(_ tally: Tally) {
        defer {
            start = nil
            stack.removeAll(keepingCapacity: true)
        }
        if let start { tally.add(row: tally.row(stack), bytes: size, at: start) }
    }

    /// The columns before STACK.
    private static func columns(_ text: LogText, _ start: Int, _ end: Int) -> Columns {
        var place = start, columns = Columns(count: 0)
        while place < end, !text.has("STACK", at: place), !text.has("TRACEBACK", at: place) {
            columns.count += 1
            columns.endsInNumber = text.has("SEQ", at: place) || text.has("CLOCKTIME", at: place)
            let wordEnd = text.wordEnd(place, end)
            if text[wordEnd] == 0x09 { columns.isTabbed = true }
            place = text.skipBlanks(wordEnd, end)
        }
        return columns
    }

    /// `0xd01ca874 malloc`, only an address, or only a name.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var place = start
        let address = text.prefixedHexadecimal(&place, end)
        if address != nil && place < end && text[place] != 0x20 && text[place] != 0x09 { return nil }
        let name = text.skipBlanks(place, end)
        if address == nil && name >= end { return nil }
        return LogFrame(address: address, name: text.bytes(name, end))
    }
}
