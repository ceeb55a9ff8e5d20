// The formats of logs that are read: one line each. A new one is a file with its `LogFormat`, and its line here; what
// it is called, how it is known and what reads it stand there, and the tools' --input, their help and completions
// follow.

/// All formats, in the order in which a line is shown to them: those whose words are the longest come first.
private let formats: [any LogFormat.Type] = [
    PprofLog.self,
    HeaptrackLog.self,
    HeapProfileLog.self,
    LeakSanitizerLog.self,
    ValgrindLog.self,
    BCCMemleakLog.self,
    BpftraceLog.self,
    AIXLog.self,
    KmemleakLog.self,
    PageOwnerLog.self,
    SLUBLog.self,
    PerfScriptLog.self,
    AllocinfoLog.self,
    SlabinfoLog.self,
    DBXLog.self,
    AllocTracesLog.self,
]

/// A kind of log, by the word of `--input`.
package struct LogKind: RawRepresentable, Hashable, CaseIterable, Sendable {
    package let rawValue: String
    private let number: Int

    var format: any LogFormat.Type { formats[number] }

    private init(_ number: Int) {
        self.number = number
        rawValue = formats[number].name
    }

    package init?(rawValue: String) {
        guard let number = formats.firstIndex(where: { $0.name == rawValue }) else { return nil }
        self.init(number)
    }

    package static let allCases = formats.indices.map { LogKind($0) }

    /// The kind of the log that begins with `head`; nil where it is none that is known.
    ///
    /// Words that only one kind has decide, wherever they stand in the head; a log may begin with other
    /// programs' lines.
    package init?(head: [UInt8]) {
        guard let number = head.withUnsafeBytes({ Self.guess(LogText($0)) }) else { return nil }
        self.init(number)
    }

    private static func guess(_ text: LogText) -> Int? {
        if let whole = formats.firstIndex(where: { $0.recognizes(head: text) }) { return whole }
        var place = 0
        while place < text.count {
            let line = LogLine(text: text, start: place, end: text.lineEnd(from: place))
            if let number = formats.firstIndex(where: { $0.recognizes(line) }) { return number }
            place = line.end + 1
        }
        return nil
    }
}
