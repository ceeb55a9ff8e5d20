// What a format is to the rest: how its records begin, how its sets do, and what reads them. One file a
// format has the reading.
//
// A log is cut into chunks where a record begins, so that several workers read it at once; a format whose
// records hang together (frees that take allocations back) is read by one worker, in order.

import Reduce

/// The kinds of logs, by the words of `--input`.
package enum LogKind: String, CaseIterable, Sendable {
    case aix, dbx, slub
    case allocTraces = "alloc-traces"
    case kmemleak
    case pageOwner = "page-owner"
    case allocinfo
    case leakSanitizer = "lsan"
    case valgrind
    case memleak = "bcc-memleak"
    case perf = "perf-script"
    case heapProfile = "heap-profile"
    case heaptrack
}

/// The text of a piece of one set, which ends where a record does, or where the set does.
struct LogSegment {
    var start: Int
    var end: Int
    /// The set's last piece: what is cut off here is cut off in the log.
    var endsSet: Bool
}

extension LogSegment {
    /// Calls `body` with each of the segment's lines: where it starts and ends in `text`, and its offset in the log, which `base` begins.
    @inline(__always)
    func forEachLine(of text: LogText, base: UInt64, _ body: (_ start: Int, _ end: Int, _ offset: UInt64) -> Void) {
        var place = start
        while place < end {
            let lineEnd = min(text.lineEnd(from: place), end)
            body(place, lineEnd, base &+ UInt64(place))
            place = lineEnd + 1
        }
    }
}

/// A reader of one format.
protocol LogFormat {
    init()
    /// A reader of the log that is called `file`; `cache` is the slab cache that the user says it is of.
    init(file: String, cache: SlabCache?)
    /// True where words stand in the line [start, end) that only logs of this kind have.
    static func hasWords(_ text: LogText, _ start: Int, _ end: Int) -> Bool

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
    static var isSequential: Bool { false }
    static var isOfKernel: Bool { false }
    mutating func finish(into tally: Tally) {}
    static func readTraceback(_ text: LogText, _ body: (LogFrame) -> Void) {}
}

extension LogKind {
    var format: any LogFormat.Type {
        switch self {
        case .aix: AIXLog.self
        case .dbx: DBXLog.self
        case .slub: SLUBLog.self
        case .allocTraces: AllocTracesLog.self
        case .kmemleak: KmemleakLog.self
        case .pageOwner: PageOwnerLog.self
        case .allocinfo: AllocinfoLog.self
        case .leakSanitizer: LeakSanitizerLog.self
        case .valgrind: ValgrindLog.self
        case .memleak: BCCMemleakLog.self
        case .perf: PerfScriptLog.self
        case .heapProfile: HeapProfileLog.self
        case .heaptrack: HeaptrackLog.self
        }
    }

    /// The kind of the log that begins with `head`; nil where it is none that is known.
    ///
    /// Words that only one kind has decide, wherever they stand in the head; a log may begin with other
    /// programs' lines.
    package init?(head: [UInt8]) {
        var found: LogKind?
        head.withUnsafeBytes { found = Self.guess(LogText($0)) }
        guard let found else { return nil }
        self = found
    }

    private static func guess(_ text: LogText) -> LogKind? {
        var place = 0
        while place < text.count {
            let end = text.lineEnd(from: place)
            if let kind = kind(ofLine: text, place, end) { return kind }
            place = end + 1
        }
        return nil
    }

    /// The kinds in the order in which they are asked: those whose words are the longest come first.
    private static let order: [LogKind] = [
        .heaptrack, .heapProfile, .leakSanitizer, .valgrind, .memleak, .aix, .kmemleak, .pageOwner, .slub, .perf, .allocinfo, .dbx, .allocTraces,
    ]

    private static func kind(ofLine text: LogText, _ start: Int, _ end: Int) -> LogKind? {
        order.first { $0.format.hasWords(text, start, end) }
    }
}
