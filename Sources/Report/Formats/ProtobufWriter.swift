// The part of protocol buffers' wire format that profiles and traces need: numbers, bytes, and nested messages. It owns
// the bytes of one message. Fields with the value 0 are left out, as in proto3.

/// One message while it is built.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    private enum WireType: UInt64 { case varint = 0, fixed64 = 1, bytes = 2 }

    private mutating func key(_ field: UInt64, _ type: WireType) { varint(field << 3 | type.rawValue) }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    /// A non-negative integer or a bool.
    mutating func number(_ field: UInt64, _ value: UInt64) {
        if value == 0 { return }
        key(field, .varint)
        varint(value)
    }

    /// The same, and written if it is 0, too.
    mutating func one(_ field: UInt64, _ value: UInt64) {
        key(field, .varint)
        varint(value)
    }

    /// A non-negative integer of type fixed64.
    mutating func fixed(_ field: UInt64, _ value: UInt64) {
        if value == 0 { return }
        key(field, .fixed64)
        for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }

    /// A repeated integer, packed.
    mutating func numbers(_ field: UInt64, _ values: some Sequence<UInt64>) {
        var packed = ProtobufWriter()
        for value in values { packed.varint(value) }
        if !packed.bytes.isEmpty { bytes(field, packed.bytes) }
    }

    /// A string or a message. An empty one is written, too, because it may be one of several.
    mutating func bytes(_ field: UInt64, _ contents: some Collection<UInt8>) {
        key(field, .bytes)
        varint(UInt64(contents.count))
        bytes.append(contentsOf: contents)
    }

    mutating func text(_ field: UInt64, _ text: String) { bytes(field, text.utf8) }

    /// The fields of another writer, after its own.
    mutating func append(_ other: ProtobufWriter) { bytes += other.bytes }

    mutating func message(_ field: UInt64, _ build: (inout ProtobufWriter) -> Void) {
        var inner = ProtobufWriter()
        build(&inner)
        bytes(field, inner.bytes)
    }
}
