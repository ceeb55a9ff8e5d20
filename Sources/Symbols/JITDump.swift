// Names of code that a program made while it ran, from its jitdump file (perf's format): each function with the moment
// when it was made, and where its source lines begin. The code itself, of which the file has a copy, is passed over.
//
// Anybody may have made the file. Every size is checked against the record that has it, and every record against the
// file.

import Text

/// What a jitdump file says.
struct JITDump {
    var index: JITIndex
    /// The process that wrote it, as it sees itself.
    var processID: UInt32
    /// Whether its times are of CLOCK_MONOTONIC, as far as can be told.
    var knowsTimes: Bool
    var notes: [SymbolsError] = []
}

extension JITDump {
    /// Reads a file.
    ///
    /// - Parameters:
    ///   - processID: whose it has to be; nil: anybody's.
    ///   - lifetime: when the program ran, by CLOCK_MONOTONIC: if the file's times lie outside, they are of another
    ///     clock. nil: not known.
    /// - Throws: `.unsupported` for another format, another byte order, or another process's file; `.damaged`,
    ///   `.cannotOpen`. A file that ends within a record counts up to there, and has a note.
    /// - Complexity: O(file)
    static func read(
        _ file: FileReader, of processID: UInt32? = nil, lifetime: ClosedRange<UInt64>? = nil
    ) throws(SymbolsError) -> JITDump {
        var reader = JITDumpReader(file)
        let header = try reader.header()
        if let processID, header.processID != processID {
            throw SymbolsError(
                file: file.path, offset: 20,
                reason: .unsupported("not used: it is of process \(header.processID), not \(processID)"))
        }
        try reader.readRecords(from: header.byteCount)
        var knowsTimes = !header.hasProcessorTimes
        if let lifetime {
            knowsTimes =
                knowsTimes && lifetime.contains(header.timestamp)
                && reader.newest.map { $0 <= lifetime.upperBound } ?? true
        }
        reader.placeLines()
        return JITDump(
            index: reader.builder.finish(knowsTimes: knowsTimes), processID: header.processID, knowsTimes: knowsTimes,
            notes: reader.notes)
    }
}

private struct JITDumpHeader {
    var byteCount: UInt64
    var processID: UInt32
    var timestamp: UInt64
    /// Its times are the processor's own counter.
    var hasProcessorTimes: Bool
}

private enum RecordKind {
    static let load: UInt32 = 0, move: UInt32 = 1, debugInfo: UInt32 = 2
}

private struct JITDumpReader {
    let file: FileReader
    var builder = JITIndexBuilder()
    var notes: [SymbolsError] = []
    /// The time of the newest code.
    var newest: UInt64?
    private var window: FileBytes?
    /// The entry of each code index, for moves.
    private var entryOfIndex: [UInt64: Int] = [:]
    /// Lines of the code that is loaded next, and its address.
    private var waiting: (address: UInt64, lines: [(address: UInt64, line: UInt32, file: UInt32)])?
    private var files: [[UInt8]: UInt32] = [:]
    /// Functions whose lines lie in them only as they are, and those whose lines do only if they are 64 bytes too high.
    private var (plain, shifted) = (0, 0)

    private static let magic: UInt32 = 0x4A69_5444, swappedMagic: UInt32 = 0x4454_694A
    private static let prefixBytes: UInt64 = 16, windowBytes: UInt64 = 1 << 20
    /// The code's place in the ELF file that perf makes of it. V8 adds it to its lines' addresses.
    private static let elfShift: UInt64 = 64

    init(_ file: FileReader) { self.file = file }

    mutating func header() throws(SymbolsError) -> JITDumpHeader {
        guard file.byteCount >= 40 else { throw unsupported("not a jitdump file: too short") }
        let magic = try word(at: 0)
        if magic == Self.swappedMagic { throw unsupported("a jitdump file of another byte order") }
        guard magic == Self.magic else { throw unsupported("not a jitdump file") }
        guard try word(at: 4) == 1 else { throw unsupported("a jitdump file of a version that is not known") }
        let byteCount = UInt64(try word(at: 8))
        guard byteCount >= 40, byteCount <= file.byteCount else {
            throw file.damaged("a header of \(byteCount) bytes", at: 8)
        }
        return JITDumpHeader(
            byteCount: byteCount, processID: try word(at: 20), timestamp: try long(at: 24),
            hasProcessorTimes: try long(at: 32) & 1 != 0)
    }

    mutating func readRecords(from first: UInt64) throws(SymbolsError) {
        var offset = first
        while offset < file.byteCount {
            guard file.byteCount - offset >= Self.prefixBytes else { return cut(at: offset) }
            let byteCount = UInt64(try word(at: offset + 4))
            guard byteCount >= Self.prefixBytes else {
                throw file.damaged("a record of \(byteCount) bytes", at: offset)
            }
            guard byteCount <= file.byteCount - offset else { return cut(at: offset) }
            let end = offset + byteCount
            switch try word(at: offset) {
            case RecordKind.load: try load(offset, end)
            case RecordKind.move: try move(offset, end)
            case RecordKind.debugInfo: try debugInfo(offset, end)
            default: break // an end, tables for unwinding, and what later versions have
            }
            offset = end
        }
    }

    // pid, tid, vma, address, size, index, the name, the code. Perf takes the address, not the vma.
    private mutating func load(_ offset: UInt64, _ end: UInt64) throws(SymbolsError) {
        guard end - offset > 56 else { throw file.damaged("a function's record without a name", at: offset) }
        let address = try long(at: offset + 32), byteCount = try long(at: offset + 40)
        let time = try long(at: offset + 8), index = try long(at: offset + 48)
        guard let text = try name(at: offset + 56, before: end) else {
            throw file.damaged("a function's name without an end", at: offset)
        }
        guard let name = builder.add(name: text) else { throw JITMap.tooMany(file) }
        let (last, overflow) = address.addingReportingOverflow(byteCount)
        var entry = JITEntry(start: address, end: overflow ? .max : last, from: time, name: name)
        if let lines = waiting, lines.address == address { entry.lines = add(lines.lines, to: entry) }
        waiting = nil
        try add(entry, index)
    }

    // pid, tid, vma, old address, new address, size, index
    private mutating func move(_ offset: UInt64, _ end: UInt64) throws(SymbolsError) {
        guard end - offset >= 64 else { throw file.damaged("a move's record that is too short", at: offset) }
        let time = try long(at: offset + 8), old = try long(at: offset + 32), new = try long(at: offset + 40)
        let byteCount = try long(at: offset + 48), index = try long(at: offset + 56)
        guard let number = entryOfIndex[index], builder.entries[number].start == old else {
            // Which function it was is not known: what is there now must not have another one's name.
            guard let name = builder.add(name: []) else { throw JITMap.tooMany(file) }
            let (last, overflow) = new.addingReportingOverflow(byteCount)
            return try add(JITEntry(start: new, end: overflow ? .max : last, from: time, name: name), index)
        }
        var entry = builder.entries[number]
        builder.change(number) { $0.until = time }
        let (last, overflow) = new.addingReportingOverflow(byteCount)
        (entry.start, entry.end, entry.from) = (new, overflow ? .max : last, time)
        try add(entry, index)
    }

    private mutating func add(_ entry: JITEntry, _ index: UInt64) throws(SymbolsError) {
        guard builder.add(entry) else { throw JITMap.tooMany(file) }
        entryOfIndex[index] = builder.entries.count - 1
        newest = max(newest ?? 0, entry.from)
    }

    // The address of the function that is loaded next, a count, and for each line its address, number, discriminator
    // and file; a file's name of the byte 0xFF alone means the previous one's. V8 writes some names from memory that it
    // has freed, so a record that makes no sense is passed over, and is no damage of the file.
    private mutating func debugInfo(_ offset: UInt64, _ end: UInt64) throws(SymbolsError) {
        waiting = nil
        guard end - offset >= 32 else { throw file.damaged("a record of lines that is too short", at: offset) }
        let address = try long(at: offset + 16), count = try long(at: offset + 24)
        var lines: [(address: UInt64, line: UInt32, file: UInt32)] = []
        var place = offset + 32, last: UInt32 = 0
        for _ in 0 ..< min(count, end - offset) {
            guard end - place > 16, let name = try name(at: place + 16, before: end) else { return }
            if name != [0xFF] {
                guard let number = try self.number(ofFile: name) else { return }
                last = number
            }
            lines.append((try long(at: place), try word(at: place + 8), last))
            place += 16 + UInt64(name.count) + 1
        }
        // Records may be filled up to a multiple of eight bytes.
        if UInt64(lines.count) == count && end - place < 8 { waiting = (address, lines) }
    }

    // nil if it is no file's name.
    private mutating func number(ofFile name: [UInt8]) throws(SymbolsError) -> UInt32? {
        if let known = files[name] { return known }
        guard !name.isEmpty, !name.contains(where: { $0 < 0x20 || $0 == 0x7F }),
            String(validating: name, as: UTF8.self) != nil
        else { return nil }
        guard let made = builder.add(name: name) else { throw JITMap.tooMany(file) }
        files[name] = made
        return made
    }

    private mutating func add(
        _ lines: [(address: UInt64, line: UInt32, file: UInt32)], to entry: JITEntry
    ) -> Range<UInt32> {
        let size = entry.end - entry.start
        var placed: [JITLine] = []
        placed.reserveCapacity(lines.count)
        for (address, line, file) in lines {
            guard address >= entry.start, let offset = UInt32(exactly: address - entry.start) else { return 0 ..< 0 }
            placed.append(JITLine(offset: offset, line: line, file: file))
        }
        guard let lowest = placed.lazy.map(\.offset).min(), let highest = placed.lazy.map(\.offset).max() else {
            return 0 ..< 0
        }
        let isPlain = UInt64(highest) <= size
        let isShifted = UInt64(lowest) >= Self.elfShift && UInt64(highest) - Self.elfShift <= size
        if !isPlain && !isShifted { return 0 ..< 0 }
        if !isPlain { shifted += 1 }
        if !isShifted { plain += 1 }
        // In order of address; of two at one address the later one.
        let order = placed.indices.sorted { (placed[$0].offset, $0) < (placed[$1].offset, $1) }
        return builder.add(lines: order.map { placed[$0] })
    }

    /// Takes the shift out of the lines' addresses. If the file doesn't tell whether there is one, lines are not used.
    mutating func placeLines() {
        if builder.lines.isEmpty || (plain > 0 && shifted == 0) { return }
        if shifted > 0 && plain == 0 { return builder.shiftLines(by: UInt32(Self.elfShift)) }
        builder.forgetLines()
        notes.append(
            SymbolsError(
                file: file.path,
                reason: .damaged("it doesn't tell where its source lines begin: functions have no lines")))
    }

    private mutating func cut(at offset: UInt64) {
        notes.append(
            SymbolsError(
                file: file.path, offset: offset,
                reason: .damaged(
                    "it ends within a record: the program's newest functions are missing, and a name may be of the "
                        + "function that was there before")))
    }

    private func unsupported(_ what: String) -> SymbolsError {
        SymbolsError(file: file.path, reason: .unsupported(what))
    }

    // MARK: Bytes

    // The part of the file around `count` bytes, which must be inside the file.
    private mutating func bytes(at offset: UInt64, _ count: UInt64) throws(SymbolsError) -> (FileBytes, Int) {
        if let window, offset >= window.offset, offset + count <= window.offset + UInt64(window.count) {
            return (window, Int(offset - window.offset))
        }
        let wanted = min(max(Self.windowBytes, count), file.byteCount - min(offset, file.byteCount))
        let read = try file.read("a record", at: offset, count: max(wanted, count))
        window = read
        return (read, 0)
    }

    private mutating func word(at offset: UInt64) throws(SymbolsError) -> UInt32 {
        let (bytes, place) = try bytes(at: offset, 4)
        return bytes.withSpan { UInt32(littleEndian: $0.unsafeLoadUnaligned(fromByteOffset: place, as: UInt32.self)) }
    }

    private mutating func long(at offset: UInt64) throws(SymbolsError) -> UInt64 {
        let (bytes, place) = try bytes(at: offset, 8)
        return bytes.withSpan { UInt64(littleEndian: $0.unsafeLoadUnaligned(fromByteOffset: place, as: UInt64.self)) }
    }

    // The bytes up to the next NUL; nil if that doesn't come before `end`.
    private mutating func name(at offset: UInt64, before end: UInt64) throws(SymbolsError) -> [UInt8]? {
        let most = min(end - offset, UInt64(StringTable.nameLimit))
        let (bytes, place) = try bytes(at: offset, most)
        return bytes.withSpan { span in
            var name: [UInt8] = []
            for position in place ..< place + Int(most) {
                let value = byte(span, position)
                if value == 0 { return name }
                name.append(value)
            }
            return nil
        }
    }
}
