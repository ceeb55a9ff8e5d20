// The report of AIX's debug malloc (MALLOCDEBUG=log, report_allocations), 32- and 64-bit, with the lines
// that log:extended adds; and the records that heapsum itself writes.
//
//     Allocation #15: 0x3060DFF8
//     Allocation size: 0x4
//     Allocated from heap: 0
//     Allocation traceback:
//     0xD01CA874 malloc
//     0x10010700 load_history
//
// A traceback's whole text is compared with those seen before, and parsed line by line only if it is new. So nearly all
// of a log is hashed and compared, and not parsed. If all lines of a new traceback are frames, its text is kept, and
// the frames are parsed at the end. Tracebacks are looked up a few dozen at a time, because the texts to compare with
// are all over memory and are prefetched meanwhile.

import Reduce

struct AIXLog: LogFormat {
    static var name: String { "aix" }
    static var heading: StaticString? { "Current allocation report:" }
    /// Tracebacks that were found; they are looked up when there are enough.
    private var found: [Traceback] = []

    private struct Traceback { var start: Int, end: Int, hash: UInt64, size: UInt64 }

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        text.has("Allocation #", at: start)
    }

    static func recognizes(_ line: LogLine) -> Bool {
        line.has("Allocation #") || line.contains("Current allocation report:")
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.walk(text, base: base) { start, end, offset in
            if text.has("Allocation #", at: start) { return readRecord(text, start, end, segment, base, tally) }
            if !text.has("Current allocation report:", at: start)
                && text.skipBlanks(start, end) < text.trimmedEnd(start, end)
            {
                tally.notes.add(.outside, at: offset)
            }
            return end + 1
        }
        lookUp(text, base, tally)
    }

    /// Looks up and counts the tracebacks that were found.
    private mutating func lookUp(_ text: LogText, _ base: UInt64, _ tally: Tally) {
        for traceback in found { tally.tracebacks.prefetchText(traceback.hash) }
        for traceback in found {
            let raw = text.raw(traceback.start, traceback.end), offset = base &+ UInt64(traceback.start)
            if let row = tally.tracebacks.find(raw, hash: traceback.hash) {
                tally.add(row: Int(row), bytes: traceback.size, at: offset)
                continue
            }
            // Notes about a text are counted for each of its occurrences.
            let known =
                Self.areFrames(text, traceback.start, traceback.end) ? tally.row(ofNew: raw, hash: traceback.hash) : nil
            let row = known ?? tally.row(readFrames(text, traceback.start, traceback.end, base, tally))
            tally.add(row: row, bytes: traceback.size, at: offset)
        }
        found.removeAll(keepingCapacity: true)
    }

    /// Reads the record that begins with the line [start, end). Returns where the next line begins.
    private mutating func readRecord(
        _ text: LogText, _ start: Int, _ end: Int, _ segment: LogSegment, _ base: UInt64, _ tally: Tally
    ) -> Int {
        var lineEnd = end
        let address = Self.address(text, start, lineEnd)
        var size: UInt64?
        var place = lineEnd + 1
        // A line that is cut off at the set's end may be incomplete.
        var isCut = !segment.isWhole(lineEnd)
        while place < segment.end && !isCut {
            lineEnd = min(text.lineEnd(from: place), segment.end)
            if text.has("Allocation size: ", at: place) {
                size = Self.value(text, place + 17, lineEnd)
                isCut = !segment.isWhole(lineEnd)
            } else if text.has("Allocation traceback:", at: place) {
                guard lineEnd < segment.end, address != nil, let size else { break }
                return findTraceback(text, lineEnd + 1, segment, base, tally, size: size)
            } else if text.has("Allocation #", at: place) {
                break
            } else if !Self.isField(text, place, lineEnd) {
                if text.skipBlanks(place, lineEnd) < text.trimmedEnd(place, lineEnd) {
                    tally.notes.add(.notUnderstood, at: base &+ UInt64(place))
                }
            }
            place = lineEnd + 1
        }
        let isAtEnd = place >= segment.end && segment.endsSet
        if address != nil, let size, !isCut {
            // It has no traceback: none was recorded, or the log ends before it.
            if isAtEnd { tally.notes.add(.cutRecord, at: base &+ UInt64(segment.end)) }
            tally.add(row: tally.row(isAtEnd ? [tally.number(of: .cut)] : []), bytes: size, at: base &+ UInt64(start))
        } else {
            tally.notes.add(
                isAtEnd || isCut ? .cutRecord : .badRecord, at: base &+ UInt64(isAtEnd || isCut ? segment.end : start),
                lostBytes: UInt64(min(place, segment.end) - start))
            tally.recordsLost &+= 1
        }
        return place
    }

    /// Finds the traceback at `start` and its end. Returns where the next line begins.
    private mutating func findTraceback(
        _ text: LogText, _ start: Int, _ segment: LogSegment, _ base: UInt64, _ tally: Tally, size: UInt64
    ) -> Int {
        var end = start
        while end < segment.end {
            // Nearly every line is a frame and begins with 0x. Only other lines are examined closely.
            if text[end] == 0x30 && text[end &+ 1] | 0x20 == 0x78 || Self.isFrame(text, end, segment.end) {
                end = text.lineEnd(from: end) &+ 1
            } else {
                break
            }
        }
        if end > segment.end {
            readCutTraceback(text, start, segment, base, tally, size: size)
            return segment.end
        }
        let hash = tally.tracebacks.hash(text.raw(start, end))
        tally.tracebacks.prefetchSlot(hash)
        found.append(Traceback(start: start, end: end, hash: hash, size: size))
        if found.count == 32 { lookUp(text, base, tally) }
        return end
    }

    /// True if every line of [start, end) is a frame and there are not too many.
    private static func areFrames(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var count = 0
        return text.lines(start, end) { line, lineEnd in
            count &+= 1
            return count <= mostFrames && parts(text, line, lineEnd) != nil
        }
    }

    static func readTraceback(_ text: LogText, _ body: (LogFrame) -> Void) {
        _ = text.lines(0, text.count) { start, end in
            body(frame(text, start, end) ?? .cut)
            return true
        }
    }

    /// Reads the frames in [start, end), which are whole lines. Returns their numbers, innermost first.
    private func readFrames(_ text: LogText, _ start: Int, _ end: Int, _ base: UInt64, _ tally: Tally) -> [UInt32] {
        var stack: [UInt32] = []
        _ = text.lines(start, end) { place, lineEnd in
            let offset = base &+ UInt64(place)
            if stack.count == mostFrames {
                stack.append(tally.number(of: .cut))
                tally.notes.add(.longStack, at: offset)
                return false
            }
            let line = text.raw(place, lineEnd)
            let hash = tally.lines.hash(line)
            if let known = tally.lines.find(line, hash: hash) {
                stack.append(known)
            } else if let frame = Self.frame(text, place, lineEnd) {
                let number = tally.number(of: frame)
                tally.lines.keep(line, hash: hash, number: number)
                stack.append(number)
            } else {
                stack.append(tally.number(of: .cut))
                tally.notes.add(.badFrame, at: offset)
            }
            return true
        }
        return stack
    }

    /// A traceback whose last line has no newline. The line counts if it has a name after its address, because then at
    /// least the address is complete.
    private mutating func readCutTraceback(
        _ text: LogText, _ start: Int, _ segment: LogSegment, _ base: UInt64, _ tally: Tally, size: UInt64
    ) {
        let last = max(start, text.lineStart(before: segment.end))
        var stack = readFrames(text, start, last, base, tally)
        // If a heading follows on the same line, the record was cut off. At the end of a file only the newline may be
        // missing.
        let isCut = segment.end < text.count
        if let frame = Self.frame(text, last, segment.end), !frame.name.isEmpty {
            stack.append(tally.number(of: frame))
            if isCut { stack.append(tally.number(of: .cut)) }
            tally.notes.add(isCut ? .cutRecord : .noNewline, at: base &+ UInt64(segment.end))
        } else {
            stack.append(tally.number(of: .cut))
            tally.notes.add(.cutRecord, at: base &+ UInt64(segment.end), lostBytes: UInt64(segment.end - last))
        }
        tally.add(row: tally.row(stack), bytes: size, at: base &+ UInt64(start))
    }

    // MARK: Lines

    /// The address of `Allocation #N: 0x…`.
    @inline(__always)
    private static func address(_ text: LogText, _ start: Int, _ end: Int) -> UInt64? {
        var place = start &+ 12
        guard text.decimal(&place, end) != nil, text[place] == 0x3A else { return nil }
        return value(text, place &+ 1, end)
    }

    /// The number that a line ends with.
    @inline(__always)
    private static func value(_ text: LogText, _ start: Int, _ end: Int) -> UInt64? {
        var place = text.skipBlanks(start, end)
        guard let value = text.number(&place, end), text.trimmedEnd(place, end) == place else { return nil }
        return value
    }

    /// True for `Name: value` with any name: the fields depend on options and versions.
    private static func isField(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        guard let colon = text.find(byte: 0x3A, from: start, to: end) else { return false }
        return colon > start
            && (colon + 1 == end || text[colon + 1] == 0x20 || text[colon + 1] == 0x09 || text[colon + 1] == 0x0D)
    }

    /// True for a frame's line in the less common form, with blanks before its address.
    private static func isFrame(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        guard text[start] == 0x20 || text[start] == 0x09 else { return false }
        let place = text.skipBlanks(start, end)
        return text[place] == 0x30 && text[place + 1] | 0x20 == 0x78
    }

    /// The frame of `0xADDRESS name`; everything after the address is the name.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        parts(text, start, end).map { LogFrame(address: $0.address, name: text.bytes($0.name, $0.nameEnd)) }
    }

    @inline(__always)
    private static func parts(_ text: LogText, _ start: Int, _ end: Int) -> (address: UInt64, name: Int, nameEnd: Int)?
    {
        var place = text.skipBlanks(start, end)
        guard let address = text.prefixedHexadecimal(&place, end) else { return nil }
        let name = text.skipBlanks(place, end), nameEnd = text.trimmedEnd(name, end)
        guard name > place || name == nameEnd else { return nil }
        return (address, name, nameEnd)
    }
}
