// The encoding of samples. All numbers are variable-length integers with 7 bits per byte, lowest first; differences
// have their sign in the lowest bit. A sample has only the changes since the previous one. A key sample has everything,
// so reading can begin there. One sample is one frame:
//
//     A7 48 57 kind | payload's length, 4 bytes | CRC-32 of kind and payload, 4 bytes | payload         (lowest byte
//     first)
//
//     payload of a sample:  time, occasion, new columns, entities that are gone, new entities, changes
//       time       milliseconds since the machine's start; in what is no key, since the sample before
//       occasion   0; or 1 and the job; or 2, the job and its exit status
//       columns    how many; each: kind, name. It gets the kind's next number
//       gone       how many; each: entity number less the one before
//       new        how many; each: kind, id, name, detail, how many values, the values + 1. It gets the next entity
//       number changes    how many; each: entity number less the one before, how many columns, each: column number less
//       the one
//                  before, difference of the value
//
// Invariant: encoder and decoder number entities and columns in the same way; both start again with each key sample.

/// The content of a frame.
enum FrameKind: UInt8 {
    case head = 1, key = 2, change = 3, note = 4
}

/// An invalid payload.
struct DecodingError: Error { var offset: Int, reason: String }

// MARK: Bytes

struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func unsigned(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }

    mutating func count(_ value: Int) { unsigned(UInt64(value)) }
    mutating func signed(_ value: Int64) { unsigned(UInt64(bitPattern: value << 1 ^ value >> 63)) }

    mutating func text(_ value: String) {
        let bytes = Array(value.utf8.prefix(ByteReader.longestText))
        count(bytes.count)
        self.bytes.append(contentsOf: bytes)
    }
}

struct ByteReader {
    static let longestText = 64 << 10
    private let bytes: ArraySlice<UInt8>
    private(set) var offset: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        offset = bytes.startIndex
    }

    var isAtEnd: Bool { offset >= bytes.endIndex }

    mutating func unsigned() throws(DecodingError) -> UInt64 {
        var value: UInt64 = 0, shift: UInt64 = 0
        while offset < bytes.endIndex {
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { break }
        }
        throw DecodingError(offset: offset, reason: "a number that doesn't end")
    }

    mutating func signed() throws(DecodingError) -> Int64 {
        let value = try unsigned()
        return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
    }

    /// A count is never larger than the number of remaining bytes, so no memory is reserved for missing data.
    mutating func count() throws(DecodingError) -> Int {
        let value = try unsigned()
        guard value <= UInt64(bytes.endIndex - offset) else {
            throw DecodingError(offset: offset, reason: "a count of \(value) where there is less")
        }
        return Int(value)
    }

    mutating func text() throws(DecodingError) -> String {
        let length = try count()
        defer { offset += length }
        return String(decoding: bytes[offset ..< offset + length], as: UTF8.self)
    }
}

/// The CRC-32 of gzip and PNG.
struct CRC32 {
    private static let table: [UInt32] = (0 ..< 256).map { byte in
        (0 ..< 8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }
    private var state: UInt32 = 0xFFFF_FFFF

    mutating func add(_ byte: UInt8) { state = state >> 8 ^ Self.table[Int((state ^ UInt32(byte)) & 0xFF)] }

    mutating func add(_ bytes: ArraySlice<UInt8>) {
        var state = state
        Self.table.withUnsafeBufferPointer { table in
            for byte in bytes { state = state >> 8 ^ table[Int((state ^ UInt32(byte)) & 0xFF)] }
        }
        self.state = state
    }

    var value: UInt32 { ~state }
}

// MARK: Encoding

struct SampleEncoder {
    private struct Known { var number: Int, name: String, detail: String, values: [Int64] }
    private struct Identity: Hashable { var kind: EntityKind, id: String }

    private var known: [Identity: Known] = [:]
    private var next = 0
    private var columns = [[String]](repeating: [], count: EntityKind.allCases.count)
    private var lastTime: Int64 = 0

    /// - Returns: the payload of a key sample or of a change.
    mutating func encode(_ sample: Sample, isKey: Bool) -> [UInt8] {
        if isKey { self = SampleEncoder() }
        var out = ByteWriter()
        out.signed(sample.bootMilliseconds &- lastTime)
        lastTime = sample.bootMilliseconds
        switch sample.occasion {
        case .interval: out.unsigned(0)
        case .beforeJob(let job):
            out.unsigned(1)
            out.text(job)
        case .afterJob(let job, let status):
            out.unsigned(2)
            out.text(job)
            out.signed(status)
        }

        let added = EntityKind.allCases.map { Array(sample.columns($0).dropFirst(columns[Int($0.rawValue)].count)) }
        out.count(added.reduce(0) { $0 + $1.count })
        for (kind, names) in added.enumerated() {
            for name in names {
                out.unsigned(UInt64(kind))
                out.text(name)
            }
            columns[kind] += names
        }

        var here: Set<Identity> = []
        here.reserveCapacity(sample.entities.count)
        var fresh: [EntitySample] = [], gone: [Int] = []
        var changes = ByteWriter(), changed: [(number: Int, bytes: Range<Int>)] = []
        for entity in sample.entities {
            let identity = Identity(kind: entity.kind, id: entity.id)
            guard here.insert(identity).inserted else { continue }
            guard let old = known[identity], old.name == entity.name, old.detail == entity.detail,
                old.values.count <= entity.values.count
            else {
                if let old = known.removeValue(forKey: identity) { gone.append(old.number) }
                fresh.append(entity)
                continue
            }
            let begin = changes.bytes.count
            var differing = 0, before = 0, pairs = ByteWriter()
            for (column, value) in entity.values.enumerated() {
                let old = column < old.values.count ? old.values[column] : Sample.unknown
                if value == old { continue }
                differing += 1
                pairs.count(column - before)
                pairs.signed(value &- old)
                before = column
            }
            if differing == 0 { continue }
            changes.count(differing)
            changes.bytes += pairs.bytes
            changed.append((old.number, begin ..< changes.bytes.count))
            known[identity]?.values = entity.values
        }
        for (identity, old) in known where !here.contains(identity) {
            gone.append(old.number)
            known[identity] = nil
        }

        out.count(gone.count)
        var before = 0
        for number in gone.sorted() {
            out.count(number - before)
            before = number
        }
        out.count(fresh.count)
        for entity in fresh {
            out.unsigned(UInt64(entity.kind.rawValue))
            out.text(entity.id)
            out.text(entity.name)
            out.text(entity.detail)
            out.count(entity.values.count)
            for value in entity.values { out.unsigned(UInt64(bitPattern: max(value, Sample.unknown) &+ 1)) }
            known[Identity(kind: entity.kind, id: entity.id)] = Known(
                number: next, name: entity.name, detail: entity.detail, values: entity.values)
            next += 1
        }
        out.count(changed.count)
        before = 0
        for (number, range) in changed.sorted(by: { $0.number < $1.number }) {
            out.count(number - before)
            out.bytes += changes.bytes[range]
            before = number
        }
        return out.bytes
    }
}

// MARK: Decoding

/// An entity's current state while reading.
package struct DecodedEntity: Sendable {
    package var kind: EntityKind
    package var id: String
    package var name: String
    package var detail: String
    package var values: [Int64]
    package var isHere = true
    /// For readers; -1 when the entity is created.
    package var tag = -1

    package subscript(_ column: Int) -> Int64 { column < values.count && column >= 0 ? values[column] : Sample.unknown }
    package subscript(_ column: ProcessColumn) -> Int64 { self[column.rawValue] }
    package subscript(_ column: SlabColumn) -> Int64 { self[column.rawValue] }
}

/// The machine's state while samples are applied one after the other.
package struct SampleDecoder {
    package private(set) var bootMilliseconds: Int64 = 0
    package private(set) var occasion = Occasion.interval
    /// Names of columns by kind.
    package private(set) var columns = [[String]](repeating: [], count: EntityKind.allCases.count)
    /// By number. Ended ones stay until the next key sample.
    package var entities: [DecodedEntity] = []

    /// More than any entity of a machine has.
    static let mostValues = 1 << 16

    /// After an error only a key sample may follow.
    mutating func apply(_ payload: ArraySlice<UInt8>, isKey: Bool) throws(DecodingError) {
        if isKey { self = SampleDecoder() }
        var input = ByteReader(payload)
        func wrong(_ reason: String) -> DecodingError { DecodingError(offset: input.offset, reason: reason) }
        bootMilliseconds = bootMilliseconds &+ (try input.signed())
        switch try input.unsigned() {
        case 0: occasion = .interval
        case 1: occasion = .beforeJob(try input.text())
        case 2:
            let job = try input.text()
            occasion = .afterJob(job, try input.signed())
        default: throw wrong("an occasion that isn't known")
        }
        for _ in 0 ..< (try input.count()) {
            let kind = try input.unsigned(), name = try input.text()
            guard kind < columns.count, columns[Int(kind)].count < Self.mostValues else {
                throw wrong("a column of no kind")
            }
            columns[Int(kind)].append(name)
        }
        var number = 0
        for _ in 0 ..< (try input.count()) {
            number = try place(number, try input.unsigned(), input.offset)
            entities[number].isHere = false
        }
        for _ in 0 ..< (try input.count()) {
            guard let kind = EntityKind(rawValue: UInt8(clamping: try input.unsigned())) else {
                throw wrong("an entity of no kind")
            }
            let id = try input.text(), name = try input.text(), detail = try input.text()
            let count = try input.count()
            guard count <= Self.mostValues else { throw wrong("\(count) values") }
            var values: [Int64] = []
            values.reserveCapacity(count)
            for _ in 0 ..< count { values.append(Int64(bitPattern: try input.unsigned()) &- 1) }
            entities.append(DecodedEntity(kind: kind, id: id, name: name, detail: detail, values: values))
        }
        number = 0
        for _ in 0 ..< (try input.count()) {
            number = try place(number, try input.unsigned(), input.offset)
            var column: UInt64 = 0
            for _ in 0 ..< (try input.count()) {
                column = column &+ (try input.unsigned())
                let difference = try input.signed()
                guard column < UInt64(Self.mostValues) else { throw wrong("column \(column)") }
                while entities[number].values.count <= Int(column) { entities[number].values.append(Sample.unknown) }
                entities[number].values[Int(column)] &+= difference
            }
        }
        if !input.isAtEnd { throw wrong("more than a sample") }
    }

    private func place(_ before: Int, _ gap: UInt64, _ offset: Int) throws(DecodingError) -> Int {
        let (number, overflow) = UInt64(before).addingReportingOverflow(gap)
        guard !overflow, number < UInt64(entities.count) else {
            throw DecodingError(offset: offset, reason: "entity \(number), of \(entities.count)")
        }
        return Int(number)
    }

    /// This state as a sample, as the gatherer would make it.
    func sample() -> Sample {
        Sample(
            bootMilliseconds: bootMilliseconds, occasion: occasion,
            systemColumns: columns[Int(EntityKind.system.rawValue)],
            groupColumns: columns[Int(EntityKind.group.rawValue)],
            entities: entities.filter(\.isHere).map {
                EntitySample(kind: $0.kind, id: $0.id, name: $0.name, detail: $0.detail, values: $0.values)
            })
    }
}
