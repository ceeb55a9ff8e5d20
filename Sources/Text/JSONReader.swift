// Reads JSON (RFC 8259): reports that heapsum wrote, and that anybody may have changed since.
//
// Invariant: any input gives a value or an error with its offset. Depth is bounded, and memory by the text's length.

/// A value of a JSON text.
package enum JSONValue: Equatable {
    case null
    case bool(Bool)
    /// A whole number, not negative, that 64 bits hold.
    case integer(UInt64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    package subscript(_ name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }
    package var isNull: Bool { if case .null = self { true } else { false } }
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
    package var integer: UInt64? { if case .integer(let value) = self { value } else { nil } }
    package var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}

/// Text that is not JSON.
package struct JSONError: Error, CustomStringConvertible {
    package var offset: Int
    package var what: String
    package var description: String { "byte \(offset): \(what)" }
}

/// Reads one value.
package struct JSONReader {
    private let bytes: [UInt8]
    private var place = 0
    private static let mostDepth = 64

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The one value of the text.
    ///
    /// - Complexity: O(bytes)
    package static func read(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
        var reader = JSONReader(bytes)
        let value = try reader.value(depth: 0)
        reader.skipSpace()
        if reader.place < bytes.count { throw reader.error("more text after the value") }
        return value
    }

    private func error(_ what: String) -> JSONError { JSONError(offset: place, what: what) }
    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { place += 1 }
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < Self.mostDepth else { throw error("values nested more than \(Self.mostDepth) deep") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"):
            var members: [String: JSONValue] = [:]
            try list(until: UInt8(ascii: "}")) { reader throws(JSONError) in
                let name = try reader.string()
                reader.skipSpace()
                guard reader.next == UInt8(ascii: ":") else { throw reader.error("a colon is expected") }
                reader.place += 1
                members[name] = try reader.value(depth: depth + 1)
            }
            return .object(members)
        case UInt8(ascii: "["):
            var values: [JSONValue] = []
            try list(until: UInt8(ascii: "]")) { reader throws(JSONError) in
                values.append(try reader.value(depth: depth + 1))
            }
            return .array(values)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case nil: throw error("the text ends where a value is expected")
        default: return try number()
        }
    }

    private mutating func list(until end: UInt8, _ item: (inout JSONReader) throws(JSONError) -> Void) throws(JSONError)
    {
        place += 1
        skipSpace()
        if next == end {
            place += 1
            return
        }
        while true {
            skipSpace()
            try item(&self)
            skipSpace()
            guard let byte = next, byte == end || byte == UInt8(ascii: ",") else {
                throw error("a comma or the end of a list is expected")
            }
            place += 1
            if byte == end { return }
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard bytes[place...].starts(with: word.utf8) else { throw error("no value") }
        place += word.utf8.count
        return value
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = place
        while let byte = next, (0x30 ... 0x39).contains(byte) || "+-.eE".utf8.contains(byte) { place += 1 }
        let text = String(decoding: bytes[start ..< place], as: UTF8.self)
        if text.utf8.allSatisfy({ (0x30 ... 0x39).contains($0) }), let value = UInt64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else {
            place = start
            throw error("no value")
        }
        return .number(value)
    }

    private mutating func string() throws(JSONError) -> String {
        guard next == UInt8(ascii: "\"") else { throw error("a string is expected") }
        place += 1
        var text: [UInt8] = []
        while let byte = next, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw error("a control character in a string") }
            place += 1
            guard byte == UInt8(ascii: "\\") else {
                text.append(byte)
                continue
            }
            guard let escape = next else { break }
            place += 1
            switch escape {
            case UInt8(ascii: "n"): text.append(0x0A)
            case UInt8(ascii: "t"): text.append(0x09)
            case UInt8(ascii: "r"): text.append(0x0D)
            case UInt8(ascii: "b"): text.append(0x08)
            case UInt8(ascii: "f"): text.append(0x0C)
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(escape)
            case UInt8(ascii: "u"): text += Array(String(try scalar()).utf8)
            default: throw error("not an escape of JSON")
            }
        }
        guard next != nil else { throw error("a string without an end") }
        place += 1
        return String(decoding: text, as: UTF8.self)
    }

    /// Half a surrogate pair without the other half becomes U+FFFD.
    private mutating func scalar() throws(JSONError) -> Character {
        let first = try hexadecimal()
        if (0xD800 ..< 0xDC00).contains(first), bytes[place...].starts(with: "\\u".utf8) {
            let before = place
            place += 2
            let second = try hexadecimal()
            if (0xDC00 ..< 0xE000).contains(second),
                let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
            {
                return Character(scalar)
            }
            place = before
        }
        return Character(Unicode.Scalar(first) ?? "\u{FFFD}")
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        guard bytes.count - place >= 4, bytes[place] != UInt8(ascii: "+"),
            let value = UInt32(String(decoding: bytes[place ..< place + 4], as: UTF8.self), radix: 16)
        else {
            throw error("four hexadecimal digits are expected")
        }
        place += 4
        return value
    }
}
