// What a format is to the rest: what it is called, how it is known, how its records begin, how its sets do, and what
// reads them. One file a format has the reading, and one line of LogRegistry names it.
//
// A log is cut into chunks where a record begins, so that several workers read it at once; a format whose
// records hang together (frees that take allocations back) is read by one worker, in order.

import Reduce

/// The text of a piece of one set, which ends where a record does, or where the set does.
struct LogSegment {
    var start: Int
    var end: Int
    /// The set's last piece: what is cut off here is cut off in the log.
    var endsSet: Bool
}

extension LogSegment {
    /// Calls `body` with each of the segment's lines: where it starts and ends in `text`, and its offset in the log,
    /// which `base` begins.
    @inline(__always)
    func forEachLine(of text: LogText, base: UInt64, _ body: (_ start: Int, _ end: Int, _ offset: UInt64) -> Void) {
        walk(text, base: base) { start, lineEnd, offset in
            body(start, lineEnd, offset)
            return lineEnd + 1
        }
    }

    /// The same, where `body` may read more lines than the one: it answers where the next one starts.
    @inline(__always)
    func walk(_ text: LogText, base: UInt64, _ body: (_ start: Int, _ end: Int, _ offset: UInt64) -> Int) {
        var place = start
        while place < end { place = body(place, min(text.lineEnd(from: place), end), base &+ UInt64(place)) }
    }

    /// False for a last line without a newline, which may be cut off.
    @inline(__always)
    func isWhole(_ lineEnd: Int) -> Bool { lineEnd < end || !endsSet }
}

/// One line of a log, without its newline.
struct LogLine {
    var text: LogText
    var start: Int
    var end: Int

    func has(_ prefix: StaticString) -> Bool { end - start >= prefix.utf8CodeUnitCount && text.has(prefix, at: start) }
    func contains(_ words: StaticString) -> Bool { text.find(words, from: start, to: end) != nil }
}

/// A reader of one format.
protocol LogFormat: SendableMetatype {
    init()
    /// A reader of the log that is called `file`; `cache` is the slab cache that the user says it is of.
    init(file: String, cache: SlabCache?)
    /// The word of `--input`.
    static var name: String { get }
    /// True where words stand in a line that only logs of this kind have.
    static func recognizes(_ line: LogLine) -> Bool
    /// True where a log's first bytes are of this kind: for those that have no lines.
    static func recognizes(head: LogText) -> Bool
    /// True if the log is not text: it is passed on in pieces that end anywhere.
    static var isBinary: Bool { get }
    /// True where an empty file says that there is nothing.
    static var mayBeEmpty: Bool { get }
    /// Why a file that is called so holds nothing of use; nil where it may.
    static func refusal(ofFile name: String) -> String?

    /// A set's heading, as it begins; nil where a log of this kind is one set.
    static var heading: StaticString? { get }
    /// False where the words at `place` only look like a heading.
    static func isHeading(_ text: LogText, at place: Int) -> Bool
    /// True where a record may begin with the line at `start`, so that the log can be cut before it.
    static func beginsRecord(_ text: LogText, at start: Int) -> Bool
    /// True where frames may be a kernel's.
    static var isOfKernel: Bool { get }
    /// True where records don't stand alone: one worker reads them in order.
    static var isSequential: Bool { get }

    /// Counts the records of a segment; `base` is the text's place in the log.
    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally)
    /// Counts what is left when the set is over.
    mutating func finish(into tally: Tally)
    /// Hands out the frames of a traceback that `read` kept as a text, innermost first.
    static func readTraceback(_ text: LogText, _ body: (LogFrame) -> Void)
}

extension LogFormat {
    init(file: String, cache: SlabCache?) { self.init() }
    static var heading: StaticString? { nil }
    static func isHeading(_ text: LogText, at place: Int) -> Bool { true }
    static func recognizes(head: LogText) -> Bool { false }
    static var isBinary: Bool { false }
    static var mayBeEmpty: Bool { false }
    static func refusal(ofFile name: String) -> String? { nil }
    static var isSequential: Bool { false }
    static var isOfKernel: Bool { false }
    mutating func finish(into tally: Tally) {}
    static func readTraceback(_ text: LogText, _ body: (LogFrame) -> Void) {}
}
