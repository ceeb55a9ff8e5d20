// The data of a page, as JSON inside HTML: columns of numbers, and one table of strings that they index. So a page of
// 100,000 stacks takes a few megabytes, and is parsed in a fraction of a second.
//
// Invariant: no "<" is ever written, so that no name can end the element that contains the data.

import Text

package struct PageData {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false
    private var numbers: [String: Int] = [:]
    private var strings: [String] = []

    package init() {}

    /// The number of a string in the page's table, which `strings()` writes.
    package mutating func number(of string: String) -> Int {
        if let number = numbers[string] { return number }
        numbers[string] = strings.count
        strings.append(string)
        return strings.count - 1
    }

    /// Begins and ends the data, one object.
    package mutating func open() { bytes.append(UInt8(ascii: "{")) }
    package mutating func close() { bytes.append(UInt8(ascii: "}")) }

    package mutating func object(_ key: String? = nil, _ body: (inout PageData) -> Void) { nested(key, "{", "}", body) }
    package mutating func array(_ key: String? = nil, _ body: (inout PageData) -> Void) { nested(key, "[", "]", body) }

    package mutating func string(_ key: String? = nil, _ value: String?) {
        begin(key)
        if let value { quote(value) } else { bytes += "null".utf8 }
    }

    package mutating func integer(_ key: String? = nil, _ value: UInt64?) {
        begin(key)
        if let value { digits(value) } else { bytes += "null".utf8 }
    }

    package mutating func number(_ key: String? = nil, _ value: Double?) {
        begin(key)
        if let value, value.isFinite { bytes += "\(value)".utf8 } else { bytes += "null".utf8 }
    }

    package mutating func bool(_ key: String? = nil, _ value: Bool) {
        begin(key)
        bytes += (value ? "true" : "false").utf8
    }

    /// A column of integers.
    package mutating func column(_ key: String? = nil, _ values: some Sequence<UInt64>) {
        array(key) { data in for value in values { data.integer(nil, value) } }
    }

    package mutating func column(_ key: String? = nil, of values: some Sequence<Int>) {
        array(key) { data in
            for value in values {
                data.begin(nil)
                if value < 0 { data.bytes.append(UInt8(ascii: "-")) }
                data.digits(UInt64(value.magnitude))
            }
        }
    }

    package mutating func strings(_ key: String?, _ values: [String]) {
        array(key) { data in for value in values { data.string(nil, value) } }
    }

    /// The table of all strings whose number was asked for. Write it last.
    package mutating func stringTable(_ key: String) { strings(key, strings) }

    private mutating func nested(_ key: String?, _ open: String, _ close: String, _ body: (inout PageData) -> Void) {
        begin(key)
        bytes += open.utf8
        needsComma = false
        body(&self)
        bytes += close.utf8
        needsComma = true
    }

    private mutating func begin(_ key: String?) {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
        needsComma = true
        if let key {
            quote(key)
            bytes.append(UInt8(ascii: ":"))
        }
    }

    private mutating func digits(_ value: UInt64) {
        if value < 10 {
            bytes.append(UInt8(ascii: "0") + UInt8(value))
            return
        }
        let start = bytes.count
        var rest = value
        while rest > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        }
        bytes[start...].reverse()
    }
    private mutating func quote(_ text: String) { appendJSONString(text, to: &bytes, in: .page) }
}
