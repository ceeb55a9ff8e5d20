// The wire format of protocol buffers, by https://protobuf.dev/programming-guides/encoding: fields one after the other,
// each a tag and a value. Reads only what profiles consist of.
//
// Invariant: nothing outside of [place, end) is read. Invalid data ends the reading with `isBroken`.

/// Reads the fields of one message.
package struct ProtobufReader {
    package enum Value {
        case number(UInt64)
        /// Text, a message, or packed numbers: a part of `bytes`.
        case bytes(Range<Int>)
    }

    private let bytes: UnsafeRawBufferPointer
    package private(set) var place: Int
    private let end: Int
    /// The data is invalid, or cut off at `place`.
    package private(set) var isBroken = false

    package init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        place = max(0, range.lowerBound)
        end = min(range.upperBound, bytes.count)
    }

    /// The next field, with its number; nil at the end and for invalid data.
    package mutating func next() -> (field: UInt64, value: Value)? {
        guard !isBroken, place < end else { return nil }
        let start = place
        guard let tag = varint(), tag >> 3 > 0 else { return fail(at: start) }
        switch tag & 7 {
        case 0:
            guard let number = varint() else { return fail(at: start) }
            return (tag >> 3, .number(number))
        case 1, 5:
            let width = tag & 7 == 1 ? 8 : 4
            guard end - place >= width else { return fail(at: start) }
            var value: UInt64 = 0
            for byte in 0 ..< width { value |= UInt64(bytes[place + byte]) << UInt64(8 * byte) }
            place += width
            return (tag >> 3, .number(value))
        case 2:
            guard let length = varint(), length <= UInt64(end - place) else { return fail(at: start) }
            let range = place ..< place + Int(length)
            place = range.upperBound
            return (tag >> 3, .bytes(range))
        default: return fail(at: start)
        }
    }

    /// A number with seven bits per byte, lowest first; nil if it is cut off or has more than 64 bits.
    mutating func varint() -> UInt64? {
        var value: UInt64 = 0, shift: UInt64 = 0
        while place < end, shift < 64 {
            let byte = bytes[place]
            place += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    private mutating func fail(at start: Int) -> (field: UInt64, value: Value)? {
        place = start
        isBroken = true
        return nil
    }
}

extension ProtobufReader.Value {
    /// Passes the numbers of a repeated field, packed or not, to `body`. False if they are cut off.
    func forEachNumber(in bytes: UnsafeRawBufferPointer, _ body: (UInt64) -> Void) -> Bool {
        switch self {
        case .number(let number):
            body(number)
            return true
        case .bytes(let range):
            var reader = ProtobufReader(bytes, range)
            while reader.place < range.upperBound {
                guard let number = reader.varint() else { return false }
                body(number)
            }
            return true
        }
    }
}
