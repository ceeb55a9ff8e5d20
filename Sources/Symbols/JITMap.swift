// Names of code that a program made while it ran, from the map that its runtime writes: /tmp/perf-PID.map. It has one
// line for each function: start and size in hexadecimal, and the name, which may contain spaces. Most runtimes append
// to it when they make code, and say neither when that was nor when it is gone: if two lines with different names have
// an address, nobody can tell which of them a stack means.

import Text

enum JITMap {
    /// Larger than any runtime's.
    static let largest: UInt64 = 1 << 30

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
            forEachLine(span) { line, fields in
                if fields.isEmpty || line.lowerBound >= whole { return }
                guard fields.count >= 3, let start = number(span, fields[0]), let byteCount = number(span, fields[1])
                else {
                    if bad == 0 { firstBad = line.lowerBound }
                    bad += 1
                    return
                }
                let (end, overflow) = start.addingReportingOverflow(byteCount)
                let text = fields[2].lowerBound ..< fields[fields.count - 1].upperBound
                guard let name = builder.add(name: text.map { byte(span, $0) }),
                    builder.add(JITEntry(start: start, end: overflow ? .max : end, name: name))
                else {
                    isFull = true
                    return
                }
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

    static func tooMany(_ file: FileReader) -> SymbolsError {
        SymbolsError(
            file: file.path,
            reason: .unsupported("not used: it has more functions or longer names than any program's"))
    }
}
