// Names of code that a program made while it ran, from the map that its runtime writes: /tmp/perf-PID.map. It has one
// line for each function: start and size in hexadecimal, and the name, which may contain spaces. Most runtimes append
// to it when they make code, and say neither when that was nor when it is gone: if two lines with different names have
// an address, nobody can tell which of them a stack means.

import Text

enum JITMap {
    /// Larger than any runtime's.
    static let largest: UInt64 = 1 << 28

    /// Reads a map. Notes tell of lines that make no sense, and where the first one is.
    ///
    /// - Throws: `.tooLarge`, `.cannotOpen`; `.unsupported` if it has more functions than are read.
    static func read(_ file: FileReader) throws(SymbolsError) -> (index: JITIndex, notes: [SymbolsError]) {
        guard file.byteCount <= largest else { throw SymbolsError(file: file.path, reason: .tooLarge(file.byteCount)) }
        let bytes = try file.read("the map", at: 0, count: file.byteCount)
        var builder = JITIndexBuilder()
        var (bad, firstBad, isFull) = (0, 0, false)
        // A line that is being written has no end yet, and may lack a part of its name.
        let whole = bytes.withSpan { span in
            var end = span.byteCount
            while end > 0, byte(span, end - 1) != UInt8(ascii: "\n") { end -= 1 }
            return end
        }
        bytes.withSpan { span in
            var start = 0
            while start < whole, !isFull {
                let line = start
                var end = start
                while byte(span, end) != UInt8(ascii: "\n") { end += 1 }
                start = end + 1
                while end > line, isBlank(byte(span, end - 1)) { end -= 1 }
                if end == line { continue }
                var position = line
                let address = word(span, &position, end), size = word(span, &position, end)
                while position < end, isBlank(byte(span, position)) { position += 1 }
                guard position < end, let from = number(span, address), let byteCount = number(span, size) else {
                    if bad == 0 { firstBad = line }
                    bad += 1
                    continue
                }
                let (until, overflow) = from.addingReportingOverflow(byteCount)
                let name = builder.add(name: (position ..< end).map { byte(span, $0) })
                isFull =
                    name.map { !builder.add(JITEntry(start: from, end: overflow ? .max : until, name: $0)) } ?? true
            }
        }
        // A part would be worse than none: a function that is left out may have another one's address.
        guard !isFull else { throw tooMany(file) }
        var notes: [SymbolsError] = []
        if bad > 0 {
            notes.append(
                SymbolsError(
                    file: file.path, offset: UInt64(firstBad),
                    reason: .damaged(
                        "\(bad) line\(bad == 1 ? " is" : "s are") no functions, the first of them here")))
        }
        if whole < bytes.count {
            notes.append(
                SymbolsError(
                    file: file.path, offset: UInt64(whole),
                    reason: .damaged(
                        "it ends within a line: the program's newest functions are missing, and a name may be of the "
                            + "function that was there before")))
        }
        return (builder.finish(knowsTimes: false), notes)
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }

    /// The next word of a line, which ends at `end`.
    private static func word(_ span: RawSpan, _ position: inout Int, _ end: Int) -> Range<Int> {
        while position < end, isBlank(byte(span, position)) { position += 1 }
        let first = position
        while position < end, !isBlank(byte(span, position)) { position += 1 }
        return first ..< position
    }

    static func tooMany(_ file: FileReader) -> SymbolsError {
        SymbolsError(
            file: file.path,
            reason: .unsupported("not used: it has more functions or longer names than any program's"))
    }
}
