// What other code needs to know about a format: its name, how it is recognized, how its records and sets begin, and its
// reader. Each format has one file with its reader, and one line in LogRegistry.
//
// A log is cut into chunks where a record begins, so that several workers read it at once. If a format's records depend
// on each other (frees that cancel allocations), one worker reads them in order.

import Reduce

/// The text of a piece of one set. It ends at the end of a record or of the set.
struct LogSegment {
    var start: Int
    var end: Int
    /// Whether this is the set's last piece: then a record cut off here is cut off in the log.
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

    /// The same, but `body` may read more than one line. It returns where the next one starts.
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
    /// A reader of the log with the name `file`.
    init(file: String, kernel: KernelFacts)
    /// The word of `--input`.
    static var name: String { get }
    /// True if a line has words that occur only in logs of this kind.
    static func recognizes(_ line: LogLine) -> Bool
    /// True if a log's first bytes are of this kind; for formats without lines.
    static func recognizes(head: LogText) -> Bool
    /// True if the log is not text: its pieces may end anywhere.
    static var isBinary: Bool { get }
    /// True if an empty file means that nothing is live.
    static var mayBeEmpty: Bool { get }
    /// Why a file with this name has nothing useful; nil if it may have.
    static func refusal(ofFile name: String) -> String?

    /// The beginning of a set's heading; nil if a log of this kind is always one set.
    static var heading: StaticString? { get }
    /// False if the words at `place` only look like a heading.
    static func isHeading(_ text: LogText, at place: Int) -> Bool
    /// True if a record may begin with the line at `start`, so that the log can be cut before it.
    static func beginsRecord(_ text: LogText, at start: Int) -> Bool
    /// True if frames may be a kernel's.
    static var isOfKernel: Bool { get }
    /// True if records depend on each other: one worker reads them in order.
    static var isSequential: Bool { get }

    /// Counts the records of a segment. `base` is the text's offset in the log.
    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally)
    /// Counts what is left at the end of the set.
    mutating func finish(into tally: Tally)
    /// Passes the frames of a traceback that `read` kept as text to `body`, innermost first.
    static func readTraceback(_ text: LogText, _ body: (LogFrame) -> Void)
}

extension LogFormat {
    init(file: String, kernel: KernelFacts) { self.init() }
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
