// The maps that `bpftrace -f json` prints, one map for each line. The stack is in the key, in the same form as in the
// text output:
//
//     {"type": "map", "data": {"@bytes": {"bash,\n    __kmalloc_noprof+580\n    bpf_check+2848\n": 8, …}}}
//     {"type": "stats", "data": {"@s": {"\n    compute_scc+671\n": {"count": 1, "average": 8, "total": 8}, …}}}
//
// This does not read JSON in general, only these two forms, which one program writes. Anything else ends the line and
// is noted.

/// One key of a map, and its value.
struct BpftraceEntry {
    var key: [UInt8]
    var value: BpftraceLog.Value
    /// The key's place in the text.
    var place: Int
}

enum BpftraceJSON {
    /// True if the line at `start` is a map with keys.
    static func isMap(_ text: LogText, _ start: Int, _ end: Int) -> Bool { body(text, start, end) != nil }

    /// The map's name, and where its first key begins; nil for other lines.
    private static func body(_ text: LogText, _ start: Int, _ end: Int) -> (name: [UInt8], place: Int)? {
        let heads: [StaticString] = ["{\"type\": \"map\", \"data\": {\"@", "{\"type\": \"stats\", \"data\": {\"@"]
        guard let head = heads.first(where: { text.has($0, at: start) }) else { return nil }
        let first = start + head.utf8CodeUnitCount
        guard let quote = text.find("\": {", from: first, to: end) else { return nil }
        return (text.bytes(first, quote), quote + 4)
    }

    /// Passes the map's entries to `body`. Returns the place where the line makes no sense; nil if it is complete.
    static func read(
        _ text: LogText, _ start: Int, _ end: Int, _ take: (_ name: [UInt8], _ entry: BpftraceEntry) -> Void
    ) -> Int? {
        guard let (name, first) = body(text, start, end) else { return start }
        var place = first
        while text[place] != UInt8(ascii: "}") {
            let keyPlace = place
            guard let key = string(text, &place, end), text.has(": ", at: place) else { return keyPlace }
            place += 2
            guard let value = value(text, &place, end) else { return keyPlace }
            take(name, BpftraceEntry(key: key, value: value, place: keyPlace))
            if text.has(", ", at: place) { place += 2 } else if text[place] != UInt8(ascii: "}") { return place }
        }
        return place < end ? nil : end
    }

    /// `"bash,\n f+1\n"`, with its escapes resolved. `place` moves past it.
    private static func string(_ text: LogText, _ place: inout Int, _ end: Int) -> [UInt8]? {
        guard text[place] == UInt8(ascii: "\"") else { return nil }
        var result: [UInt8] = [], next = place + 1
        while next < end, text[next] != UInt8(ascii: "\"") {
            var byte = text[next]
            if byte == UInt8(ascii: "\\") {
                next += 1
                switch text[next] {
                case UInt8(ascii: "n"): byte = 0x0A
                case UInt8(ascii: "t"): byte = 0x09
                case UInt8(ascii: "r"): byte = 0x0D
                default: byte = text[next]
                }
            }
            result.append(byte)
            next += 1
        }
        guard next < end else { return nil }
        place = next + 1
        return result
    }

    /// `8`, or `{"count": 1, "average": 8, "total": 8}`.
    private static func value(_ text: LogText, _ place: inout Int, _ end: Int) -> BpftraceLog.Value? {
        func number() -> (value: UInt64, isNegative: Bool)? {
            let isNegative = text[place] == 0x2D
            if isNegative { place += 1 }
            return text.decimal(&place, end).map { ($0, isNegative) }
        }
        func field(_ words: StaticString) -> (value: UInt64, isNegative: Bool)? {
            guard text.has(words, at: place) else { return nil }
            place += words.utf8CodeUnitCount
            return number()
        }
        if text[place] != UInt8(ascii: "{") {
            return number().map { BpftraceLog.Value(first: $0.value, isNegative: $0.isNegative) }
        }
        guard let count = field("{\"count\": "), let average = field(", \"average\": "),
            let total = field(", \"total\": "), text[place] == UInt8(ascii: "}")
        else { return nil }
        place += 1
        return BpftraceLog.Value(
            first: total.value, blocks: count.value, average: average.isNegative ? 0 : average.value,
            isNegative: total.isNegative)
    }
}
