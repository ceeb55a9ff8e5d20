// pprof's profiles (profile.proto of https://github.com/google/pprof), plain or gzipped: written by Go's runtime, by
// `pprof -proto` from gperftools' profiles, and by heapsum itself with --format pprof.
//
// A sample has a value for each of the profile's types. Live bytes are inuse_space (or space, if there is no other),
// live blocks are inuse_objects (or objects). A profile without bytes in use is refused: it shows processor time, or
// all allocations. A location's lines are the functions inlined there, innermost first. A location without names
// becomes module and offset by its mapping.
//
// Samples come before their names, so the whole profile is kept until its end.

import Reduce

struct PprofLog: LogFormat {
    static var name: String { "pprof" }
    static var isSequential: Bool { true }
    static var isBinary: Bool { true }

    /// A profile of 10 MB is a large one.
    private static let mostBytes = 256 << 20
    private var profile: [UInt8] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { false }
    static func recognizes(_ line: LogLine) -> Bool { false }

    /// True if fields of a profile follow one another and one of them is a sample type: two small numbers in a message
    /// of a few bytes.
    static func recognizes(head: LogText) -> Bool {
        let bytes = head.raw(0, head.count)
        var reader = ProtobufReader(bytes, 0 ..< bytes.count), hasType = false
        while let (field, value) = reader.next() {
            switch (field, value) {
            case (Field.sampleType, .bytes(let range)), (Field.periodType, .bytes(let range)):
                guard isType(bytes, range) else { return false }
                if field == Field.sampleType { hasType = true }
            case (Field.sample ... Field.string, .bytes): if !hasType { return false }
            case (7 ... 10, .number), (12, .number), (13, _), (14, .number), (15, .number): break
            default: return false
            }
        }
        return hasType
    }

    private static func isType(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> Bool {
        var reader = ProtobufReader(bytes, range)
        while let (field, value) = reader.next() {
            guard field == 1 || field == 2, case .number = value else { return false }
        }
        return !reader.isBroken && !range.isEmpty && range.count <= 22
    }

    private enum Field {
        static let sampleType: UInt64 = 1, sample: UInt64 = 2, mapping: UInt64 = 3, location: UInt64 = 4,
            function: UInt64 = 5, string: UInt64 = 6, periodType: UInt64 = 11
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        guard profile.count + segment.end - segment.start <= Self.mostBytes else {
            return tally.notes.add(.profileTooLarge, at: base &+ UInt64(segment.start))
        }
        profile.append(contentsOf: text.raw(segment.start, segment.end))
    }

    mutating func finish(into tally: Tally) {
        profile.withUnsafeBytes { bytes in
            var reading = PprofReading(bytes)
            var reader = ProtobufReader(bytes, 0 ..< bytes.count)
            while let (field, value) = reader.next() {
                guard case .bytes(let range) = value else { continue }
                switch field {
                case Field.sampleType: reading.takeType(range)
                case Field.sample: reading.samples.append(range)
                case Field.mapping: reading.takeMapping(range)
                case Field.location: reading.takeLocation(range)
                case Field.function: reading.takeFunction(range)
                case Field.string: reading.strings.append(range)
                default: break
                }
            }
            if reader.isBroken {
                tally.notes.add(.cutRecord, at: UInt64(reader.place), lostBytes: UInt64(bytes.count - reader.place))
            }
            reading.count(into: tally)
        }
        profile = []
    }
}

/// The parts of one profile, as places in its bytes.
private struct PprofReading {
    private struct Function { var name = 0, file = 0 }
    private struct Mapping { var start: UInt64 = 0, limit: UInt64 = 0, offset: UInt64 = 0, file = 0 }
    private struct Location {
        var address: UInt64 = 0, mapping: UInt64 = 0, lines: [(function: UInt64, line: UInt64)] = []
    }

    let bytes: UnsafeRawBufferPointer
    var samples: [Range<Int>] = []
    var strings: [Range<Int>] = []
    private var types: [(name: Int, unit: Int)] = []
    private var functions: [UInt64: Function] = [:]
    private var mappings: [UInt64: Mapping] = [:]
    private var locations: [UInt64: Location] = [:]

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Passes a message's fields to `body`.
    private func fields(_ range: Range<Int>, _ body: (UInt64, ProtobufReader.Value) -> Void) {
        var reader = ProtobufReader(bytes, range)
        while let (field, value) = reader.next() { body(field, value) }
    }

    private func string(_ number: Int) -> [UInt8] {
        strings.indices.contains(number) ? Array(bytes[strings[number]]) : []
    }

    mutating func takeType(_ range: Range<Int>) {
        var type = (name: 0, unit: 0)
        fields(range) { field, value in
            guard case .number(let number) = value else { return }
            if field == 1 { type.name = Int(clamping: number) } else if field == 2 { type.unit = Int(clamping: number) }
        }
        if types.count < 64 { types.append(type) }
    }

    mutating func takeFunction(_ range: Range<Int>) {
        var id: UInt64 = 0, function = Function(), systemName = 0
        fields(range) { field, value in
            guard case .number(let number) = value else { return }
            switch field {
            case 1: id = number
            case 2: function.name = Int(clamping: number)
            case 3: systemName = Int(clamping: number)
            case 4: function.file = Int(clamping: number)
            default: break
            }
        }
        if function.name == 0 { function.name = systemName }
        functions[id] = function
    }

    mutating func takeMapping(_ range: Range<Int>) {
        var id: UInt64 = 0, mapping = Mapping()
        fields(range) { field, value in
            guard case .number(let number) = value else { return }
            switch field {
            case 1: id = number
            case 2: mapping.start = number
            case 3: mapping.limit = number
            case 4: mapping.offset = number
            case 5: mapping.file = Int(clamping: number)
            default: break
            }
        }
        mappings[id] = mapping
    }

    mutating func takeLocation(_ range: Range<Int>) {
        var id: UInt64 = 0, location = Location()
        fields(range) { field, value in
            switch (field, value) {
            case (1, .number(let number)): id = number
            case (2, .number(let number)): location.mapping = number
            case (3, .number(let number)): location.address = number
            case (4, .bytes(let line)):
                var entry: (function: UInt64, line: UInt64) = (0, 0)
                fields(line) { field, value in
                    guard case .number(let number) = value else { return }
                    if field == 1 { entry.function = number } else if field == 2 { entry.line = number }
                }
                if location.lines.count < mostFrames { location.lines.append(entry) }
            default: break
            }
        }
        locations[id] = location
    }

    // MARK: Counting

    /// The positions of live bytes and blocks among a sample's values, and the unit of the former in bytes.
    private var live: (bytes: Int?, scale: UInt64, blocks: Int?) {
        let names = types.map { string($0.name) }
        func index(_ words: [String]) -> Int? {
            words.lazy.compactMap { word in names.firstIndex(of: Array(word.utf8)) }.first
        }
        let bytes = index(["inuse_space", "inuse_bytes", "live_space", "space"]),
            blocks = index(["inuse_objects", "inuse_count", "live_objects", "objects"])
        guard let bytes else { return (nil, 1, blocks) }
        let units: [(String, UInt64)] = [
            ("kilobytes", 1 << 10), ("kb", 1 << 10), ("kib", 1 << 10), ("megabytes", 1 << 20), ("mb", 1 << 20),
            ("mib", 1 << 20),
        ]
        let unit = string(types[bytes].unit).map { $0 | 0x20 }
        return (bytes, units.first { Array($0.0.utf8) == unit }?.1 ?? 1, blocks)
    }

    func count(into tally: Tally) {
        // The strings are at the profile's end. Without them the types of values are not known.
        guard types.allSatisfy({ strings.indices.contains($0.name) && strings.indices.contains($0.unit) }) else {
            tally.recordsLost &+= UInt64(samples.count)
            return tally.notes.add(.cutRecord, at: UInt64(bytes.count))
        }
        let (bytesIndex, scale, blocksIndex) = live
        guard bytesIndex != nil || blocksIndex != nil else { return tally.notes.add(.nothingInUse, at: 0) }
        var frames: [UInt64: [UInt32]] = [:]
        for sample in samples {
            var stack: [UInt32] = [], values: [UInt64] = [], isWhole = true
            fields(sample) { field, value in
                if field == 1 {
                    isWhole =
                        value.forEachNumber(in: bytes) { id in
                            guard stack.count < mostFrames else { return }
                            let known = frames[id] ?? self.frames(id, tally)
                            frames[id] = known
                            stack += known
                        } && isWhole
                } else if field == 2 {
                    isWhole = value.forEachNumber(in: bytes) { if values.count < 64 { values.append($0) } } && isWhole
                }
            }
            let offset = UInt64(sample.lowerBound)
            guard isWhole, values.count == types.count, values.allSatisfy({ $0 >> 63 == 0 }) else {
                tally.notes.add(.badRecord, at: offset)
                tally.recordsLost &+= 1
                continue
            }
            if stack.count >= mostFrames { tally.notes.add(.longStack, at: offset) }
            let blocks = blocksIndex.map { values[$0] }
            guard let bytesIndex else {
                tally.recordsRead &+= 1
                if let blocks, blocks > 0 { tally.addOfUnknownSize(row: tally.row(stack), blocks: blocks, at: offset) }
                continue
            }
            let (inUse, over) = values[bytesIndex].multipliedReportingOverflow(by: scale)
            if inUse == 0 && blocks ?? 0 == 0 {
                tally.recordsRead &+= 1
                continue
            }
            if blocks ?? 0 == 0 { tally.notes.add(.blocksUnknown, at: offset) }
            tally.add(row: tally.row(stack), bytes: over ? .max : inUse, blocks: max(1, blocks ?? 1), at: offset)
        }
    }

    /// The frames of a location, innermost first.
    private func frames(_ id: UInt64, _ tally: Tally) -> [UInt32] {
        guard let location = locations[id] else {
            tally.notes.add(.badFrame, at: UInt64(bytes.count))
            return [tally.number(of: .cut)]
        }
        let mapping = mappings[location.mapping]
        let address = location.address == 0 ? nil : location.address
        let named = location.lines.compactMap { line -> LogFrame? in
            guard let function = functions[line.function], strings.indices.contains(function.name),
                strings.indices.contains(function.file)
            else {
                tally.notes.add(.badFrame, at: UInt64(bytes.count))
                return nil
            }
            let name = string(function.name)
            if name.isEmpty { return nil }
            let file = string(function.file)
            return LogFrame(
                address: address, name: name, file: file,
                line: file.isEmpty || line.line == 0 ? nil : UInt32(clamping: line.line))
        }
        if !named.isEmpty { return named.map { tally.number(of: $0) } }
        var frame = LogFrame(address: address)
        if let mapping, let address, case let file = string(mapping.file), file.first == 0x2F, mapping.start <= address,
            address < mapping.limit, mapping.start >= mapping.offset
        {
            frame.module = file
            // A program with a fixed address has its addresses in the file. Others have their start as bias. One byte
            // is added, to make it a return address.
            let bias = mapping.start - mapping.offset <= 0x400000 ? 0 : mapping.start - mapping.offset
            frame.moduleOffset = address - bias + 1
        }
        return [tally.number(of: address == nil ? .cut : frame)]
    }
}
