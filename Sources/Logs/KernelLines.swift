// The lines of a kernel's log, each without its prefix. Lines that a mailer wrapped are joined again.
//
// A line is joined with the next one only if nothing else is possible: the first belongs to a record and has the length
// at which mailers wrap; the next word would not have fitted into 72 columns; and the second line has no prefix while
// the first has one, or it begins with words that never begin a line. Otherwise they stay two lines. One of the files
// with raw pointers: a joined line has its own buffer.

/// One line, possibly joined from wrapped parts.
struct KernelLine {
    /// The text that contains `message`: the log's, or a joined line's.
    var text: LogText
    var message: KernelMessage
    /// Where the line begins and ends in the log's text.
    var start: Int
    var end: Int
    /// False for a last line that ends without a newline.
    var isWhole: Bool
}

/// Hands out the lines of one segment.
final class KernelLines {
    private static let longestJoined = 4096
    /// Mailers wrap at columns 72 to 80; quote signs are added.
    private static let wrapColumns = 72, longestWrapped = 96

    private let text: LogText
    private let segment: LogSegment
    private var place: Int
    private var ahead: KernelMessage?
    private var joined: UnsafeMutableRawBufferPointer?

    init(_ text: LogText, _ segment: LogSegment) {
        (self.text, self.segment) = (text, segment)
        place = segment.start
    }

    deinit { joined?.deallocate() }

    /// The next line. It is valid until the next call.
    func next() -> KernelLine? {
        guard place < segment.end else { return nil }
        let start = place
        var end = min(text.lineEnd(from: place), segment.end)
        var message = ahead ?? KernelMessage(text, start, end)
        ahead = nil
        place = end + 1
        var current = text
        var joinedLines = 1
        var lastStart = start
        while joinedLines < 4, place < segment.end {
            let length = text.trimmedEnd(lastStart, end) - lastStart
            guard length >= 30, length <= Self.longestWrapped, Self.isRecordLine(current, message) else { break }
            let nextEnd = min(text.lineEnd(from: place), segment.end)
            let next = KernelMessage(text, place, nextEnd)
            ahead = next
            guard continues(current, message, next, length) else { break }
            guard let both = join(current, message, next) else { break }
            (current, message) = both
            ahead = nil
            lastStart = place
            end = nextEnd
            place = nextEnd + 1
            joinedLines += 1
        }
        return KernelLine(text: current, message: message, start: start, end: end, isWhole: segment.isWhole(end))
    }

    /// Puts two parts of a line into the buffer, with a blank between; nil if they are too long.
    private func join(_ first: LogText, _ message: KernelMessage, _ next: KernelMessage) -> (LogText, KernelMessage)? {
        let count = message.end - message.start, more = next.end - next.start
        guard count + 1 + more <= Self.longestJoined else { return nil }
        let buffer = joined ?? .allocate(byteCount: Self.longestJoined, alignment: 8)
        joined = buffer
        let head = first.raw(message.start, message.end)
        if head.baseAddress != UnsafeRawPointer(buffer.baseAddress) { buffer.copyBytes(from: head) }
        let gap = count > 0 ? 1 : 0
        if gap > 0 { buffer[count] = 0x20 }
        UnsafeMutableRawBufferPointer(rebasing: buffer[(count + gap)...]).copyBytes(
            from: text.raw(next.start, next.end))
        var result = message
        (result.start, result.end) = (0, count + gap + more)
        return (LogText(UnsafeRawBufferPointer(rebasing: buffer[..<(count + gap + more)])), result)
    }

    /// Whether `next` is the rest of `message`, whose line has `length` bytes.
    private func continues(_ current: LogText, _ message: KernelMessage, _ next: KernelMessage, _ length: Int) -> Bool {
        guard next.start < next.end, !next.hasPrefix else { return false }
        let word = text.wordEnd(next.start, next.end) - next.start
        guard length + 1 + word > Self.wrapColumns else { return false }
        if message.start == message.end || Self.isIncomplete(current, message) { return true }
        if Self.isTail(text, next) { return true }
        return message.hasPrefix && !Self.isRecordLine(text, next) && !Self.isKnownLine(text, next)
    }

    /// Lines of records that are long enough to be wrapped.
    private static func isRecordLine(_ text: LogText, _ message: KernelMessage) -> Bool {
        let start = message.start
        if message.hasPrefix, (start ..< message.end).allSatisfy({ text[$0] &- 0x30 < 10 }) {
            // The prefix took the whole width of the line, or all but a count.
            return true
        }
        switch text[start] {
        case UInt8(ascii: "T"): return text.has("TRACE ", at: start)
        case UInt8(ascii: "u"): if text.has("unreferenced object", at: start) { return true }
        case UInt8(ascii: "P"): if text.has("Page allocated", at: start) || text.has("PFN ", at: start) { return true }
        case UInt8(ascii: "c"): if text.has("comm \"", at: start) { return true }
        case UInt8(ascii: "k"): if text.has("kmemleak: ", at: start) { return true }
        case UInt8(ascii: "C"): if text.has("CPU: ", at: start) { return true }
        case UInt8(ascii: "H"): if text.has("Hardware name:", at: start) { return true }
        case UInt8(ascii: "["): if text[start + 1] == UInt8(ascii: "<") { return true }
        default: break
        }
        if text[start] &- 0x30 < 10, AllocTracesLog.entry(text, start, message.end) != nil { return true }
        return isFrame(text, start, message.end)
    }

    private static func isKnownLine(_ text: LogText, _ message: KernelMessage) -> Bool {
        let lines: [StaticString] = [
            "Call Trace:", "Call trace:", "Backtrace:", "backtrace", "hex dump", "Object ", "INFO: ",
        ]
        return lines.contains { text.has($0, at: message.start) }
    }

    /// True if the first word is `name+0x…/0x…`.
    private static func isFrame(_ text: LogText, _ start: Int, _ end: Int) -> Bool {
        var place = start
        if text[place] == 0x3F { place = text.skipBlanks(place + 1, end) }
        return text.find("+0x", from: place, to: text.wordEnd(place, end)) != nil
    }

    /// True for a frame that has only its address, or for a count alone.
    private static func isIncomplete(_ text: LogText, _ message: KernelMessage) -> Bool {
        (text.has("[<", at: message.start) || text[message.start] &- 0x30 < 10)
            && text.wordEnd(message.start, message.end) == message.end
    }

    /// Words that occur in the middle of records' lines, but never at the beginning of a line.
    private static func isTail(_ text: LogText, _ message: KernelMessage) -> Bool {
        let start = message.start
        let words: [StaticString] = [
            "fp=0x", "inuse=", "alloc 0x", "free 0x", "(size ", "jiffies ", "(age ", "mask ", "via order", "order ",
            "pid=", "cpus=",
            "nodes=", "age=", "waste=", "tgid ", "ts ", "PID: ", "Comm: ", "Not tainted", "Tainted:",
        ]
        if words.contains(where: { text.has($0, at: start) }) { return true }
        // A frame's module, and a page's mask or flags.
        if text[start] == 0x5B, text[start + 1] | 0x20 &- 0x61 < 26,
            text.find(byte: 0x5D, from: start, to: message.end) != nil
        {
            return true
        }
        return text.has("0x", at: start)
            && text.find(byte: 0x28, from: start, to: text.wordEnd(start, message.end)) != nil
    }
}
