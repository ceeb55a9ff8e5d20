// The records of Java's heap dumps (HPROF, "JAVA PROFILE 1.0.2"), as far as arrays of references need them. Records are
// a tag, a time, a length and a body; what is in the heap is in segments, which are collected and written by the
// megabyte.

import Text

/// Writes records. Numbers have their highest byte first, and identifiers 8 bytes.
struct HprofRecords {
    /// A kind of garbage collector's root.
    enum RootTag: UInt8 { case unknown = 0xFF, global = 0x01, nativeStack = 0x04, stickyClass = 0x05 }

    /// A number that a class has, and the identifier of its name.
    struct StaticField {
        enum Value { case int(Int32), long(Int64) }
        var name: UInt64
        var value: Value
    }

    private let out: TextOutput
    private var segment: [UInt8] = []
    private var strings = Numbering<String>(from: 1)
    private var classes: UInt32 = 0

    private enum Tag {
        static let string: UInt8 = 0x01, loadClass: UInt8 = 0x02, stackTrace: UInt8 = 0x05, segment: UInt8 = 0x1C
        static let end: UInt8 = 0x2C
    }
    private static let segmentBytes = 1 << 20
    /// The stack trace without frames that all objects have.
    private static let noTrace: UInt32 = 1

    /// Begins a dump of a moment, in milliseconds since 1970.
    init(_ out: TextOutput, milliseconds: UInt64) throws(OutputError) {
        self.out = out
        try out.write(Array("JAVA PROFILE 1.0.2".utf8) + [0] + Self.bytes(UInt32(8)) + Self.bytes(milliseconds))
        try write(Tag.stackTrace, Self.bytes(Self.noTrace) + Self.bytes(UInt32(0)) + Self.bytes(UInt32(0)))
    }

    static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.bigEndian) { Array($0) }
    }

    private func write(_ tag: UInt8, _ body: [UInt8]) throws(OutputError) {
        try out.write([tag] + Self.bytes(UInt32(0)) + Self.bytes(UInt32(body.count)) + body)
    }

    /// A string's identifier. No segment may be open when it is new.
    mutating func string(_ text: String) throws(OutputError) -> UInt64 {
        let (number, isNew) = strings.use(text)
        if isNew { try write(Tag.string, Self.bytes(UInt64(number)) + Array(text.utf8)) }
        return UInt64(number)
    }

    /// Names a class. Before all segments.
    mutating func load(class id: UInt64, name: String) throws(OutputError) {
        let name = try string(name)
        classes += 1
        try write(
            Tag.loadClass,
            Self.bytes(classes) + Self.bytes(id) + Self.bytes(Self.noTrace) + Self.bytes(name))
    }

    // MARK: In segments

    /// A class.
    ///
    /// - Parameters:
    ///   - parent: the class above it; 0: none.
    ///   - references: the identifiers of the names of its instances' fields, all of them references.
    mutating func add(
        class id: UInt64, above parent: UInt64, _ fields: [StaticField], references: [UInt64] = []
    ) throws(OutputError) {
        segment += [0x20] + Self.bytes(id) + Self.bytes(Self.noTrace) + Self.bytes(parent)
        // The loader, signers, protection domain and two reserved ones; then the instance's size and the constants.
        segment += [UInt8](repeating: 0, count: 5 * 8 + 4 + 2)
        segment += Self.bytes(UInt16(clamping: fields.count))
        for field in fields.prefix(Int(UInt16.max)) {
            segment += Self.bytes(field.name)
            switch field.value {
            case .int(let value): segment += [10] + Self.bytes(value)
            case .long(let value): segment += [11] + Self.bytes(value)
            }
        }
        segment += Self.bytes(UInt16(clamping: references.count))
        for name in references.prefix(Int(UInt16.max)) { segment += Self.bytes(name) + [2] }
        try add(root: .stickyClass, id)
    }

    mutating func add(root tag: RootTag, _ id: UInt64) throws(OutputError) {
        segment += [tag.rawValue] + Self.bytes(id)
        switch tag {
        case .global: segment += Self.bytes(id)
        case .nativeStack: segment += Self.bytes(UInt32(0))
        case .unknown, .stickyClass: break
        }
        if segment.count >= Self.segmentBytes { try endSegment() }
    }

    /// An array of references: first `references`, then null up to `count`.
    ///
    /// - Precondition: the array takes less than 4 GB of the file.
    mutating func add(
        array id: UInt64, of type: UInt64, count: Int, _ references: some Sequence<UInt64>
    ) throws(OutputError) {
        let head = segment.count
        segment += [0x22] + Self.bytes(id) + Self.bytes(Self.noTrace) + Self.bytes(UInt32(count)) + Self.bytes(type)
        var written = 0
        for reference in references {
            segment += Self.bytes(reference)
            written += 1
        }
        let zeros = (count - written) * 8
        if segment.count + zeros < Self.segmentBytes {
            segment += [UInt8](repeating: 0, count: zeros)
            return
        }
        // It has a segment of its own.
        let own = Array(segment[head...])
        segment.removeSubrange(head...)
        try endSegment()
        try out.write([Tag.segment] + Self.bytes(UInt32(0)) + Self.bytes(UInt32(own.count + zeros)) + own)
        try out.write(zeros: zeros)
    }

    private mutating func endSegment() throws(OutputError) {
        if !segment.isEmpty { try write(Tag.segment, segment) }
        segment.removeAll(keepingCapacity: true)
    }

    /// Ends the dump.
    mutating func end() throws(OutputError) {
        try endSegment()
        try write(Tag.end, [])
    }
}
