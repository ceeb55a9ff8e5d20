// The list of log formats, one line each. A new format is a file with its `LogFormat` and a line here. That file has
// its name, how it is recognized, and its reader; the tools' --input, help and completions follow from it.

/// All formats, in the order in which they are asked about a line: those with the longest words come first.
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

/// A kind of log, by its word for `--input`.
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

    /// The kind of the log that begins with `head`; nil if it is not known.
    ///
    /// Words that only one kind has decide, anywhere in the head, because a log may begin with other programs' lines.
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
