// The maps with a stack in their keys that bpftrace prints at its end or by print():
//
//     @bytes[                                     @bytes[bash,
//         __kmalloc_node_noprof+598                   ffffffff8162df54 __kmalloc+580 ([kernel.kallsyms])
//         alloc_fdtable+65                            ffffffff81753496 load_elf_binary+246 ([kernel.kallsyms])
//     ]: 4096                                     , 4711]: count 3, average 32, total 96
//
// The log doesn't say what a value means. stats() has blocks and bytes. For sum() and count() the map's name tells
// (bytes, size; count, calls, blocks). If no map's name tells, all values count as bytes, and that is noted; beside
// maps whose names tell, such a map is left out. A map of counts completes a map of bytes with the same keys. Other
// parts of a key become the row's outermost frame.
//
// `-f json` has the same maps, one line for each (BpftraceJSON). bpftrace prints a map in the order of rising values,
// and equal stacks of several processes one after the other. So a value below the previous one begins a new print of
// that map, and the newest print counts.

import Reduce

struct BpftraceLog: LogFormat {
    static var name: String { "bpftrace" }
    static var isOfKernel: Bool { true }
    static var isSequential: Bool { true }

    private enum Meaning { case bytes, blocks, both, unknown }
    private struct Entry { var stack: [UInt32], key: [UInt8], bytes: UInt64, blocks: UInt64, offset: UInt64 }
    private struct Map { var meaning: Meaning, entries: [Entry] = [], last: UInt64 = 0 }

    private var maps: [[UInt8]: Map] = [:]
    private var order: [[UInt8]] = []
    private var open: [UInt8]?
    private var start: UInt64 = 0
    private var key: [UInt8] = []
    private var stack: [UInt32] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool {
        recognizes(LogLine(text: text, start: start, end: text.lineEnd(from: start)))
    }

    static func recognizes(_ line: LogLine) -> Bool {
        let start = unquoted(line.text, line.start, line.end)
        return opening(line.text, start, line.text.trimmedEnd(start, line.end)) != nil
            || BpftraceJSON.isMap(line.text, start, line.end)
    }

    /// Skips the quote signs of a mail that quotes the report.
    private static func unquoted(_ text: LogText, _ start: Int, _ end: Int) -> Int {
        var place = start
        while place < end, text[place] == 0x3E { place = text[place + 1] == 0x20 ? place + 2 : place + 1 }
        return place
    }

    /// The map's name, and the part of the key before the stack, in `@bytes[` or `@bytes[bash,`.
    private static func opening(_ text: LogText, _ start: Int, _ end: Int) -> (name: [UInt8], key: [UInt8])? {
        guard text[start] == 0x40, let bracket = text.find(byte: 0x5B, from: start, to: end),
            (start + 1 ..< bracket).allSatisfy({
                text[$0] == 0x5F || text[$0] &- 0x30 < 10 || (text[$0] | 0x20) &- 0x61 < 26
            })
        else { return nil }
        if bracket + 1 == end { return (text.bytes(start + 1, bracket), []) }
        return text[end - 1] == 0x2C ? (text.bytes(start + 1, bracket), text.bytes(bracket + 1, end - 1)) : nil
    }

    /// A key on one line, `@bytes[]: 96` or `@bytes[bash, ]: 96`: the kernel had no room for the stack (error -17), but
    /// the value is valid.
    private static func withoutStack(
        _ text: LogText, _ start: Int, _ end: Int
    ) -> (name: [UInt8], key: [UInt8], value: Value)? {
        guard text[start] == 0x40, let bracket = text.find(byte: 0x5B, from: start, to: end),
            let close = closing(text, bracket + 1, end),
            let (name, _) = opening(text, start, bracket + 1), let value = value(text, close + 3, end)
        else { return nil }
        var first = bracket + 1, last = close
        guard
            first == last || text[first] == 0x2C || text[last - 1] == 0x2C
                || (text[last - 1] == 0x20 && text[last - 2] == 0x2C)
        else { return nil }
        while last > first, text[last - 1] == 0x2C || text[last - 1] == 0x20 { last -= 1 }
        while first < last, text[first] == 0x2C || text[first] == 0x20 { first += 1 }
        return (name, text.bytes(first, last), value)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) {
            let start = Self.unquoted(text, $0, $1)
            readLine(text, start, text.trimmedEnd(start, $1), $2, tally, isWhole: segment.isWhole($1))
        }
    }

    private mutating func readLine(
        _ text: LogText, _ line: Int, _ end: Int, _ offset: UInt64, _ tally: Tally, isWhole: Bool
    ) {
        let start = text.skipBlanks(line, end)
        if start >= end { return }
        if BpftraceJSON.isMap(text, start, end) {
            readMap(text, start, end, offset, tally)
        } else if start == line, isWhole, let (name, key, value) = Self.withoutStack(text, start, end) {
            lose(tally)
            (self.key, self.start) = (key, offset)
            take(value, name, tally)
        } else if start == line, let (name, key) = Self.opening(text, start, end) {
            lose(tally)
            (open, self.key, self.start) = (name, key, offset)
        } else if let name = open, text[start] == 0x5D || text[start] == 0x2C,
            let close = Self.closing(text, start, end)
        {
            guard isWhole, let value = Self.value(text, close + 3, end) else { return lose(tally) }
            if text[start] == 0x2C {
                key += (key.isEmpty ? [] : [0x2C, 0x20]) + text.bytes(text.skipBlanks(start + 1, close), close)
            }
            take(value, name, tally)
        } else if open != nil, let frame = Self.frame(text, start, end) {
            if stack.count < mostFrames {
                stack.append(tally.frame(of: text.raw(start, end)) { frame })
            } else {
                tally.notes.add(.longStack, at: offset)
            }
        } else if text.find("map full", from: start, to: end) ?? text.find("Map full", from: start, to: end) != nil
            || (text.has("Lost ", at: start) && text.find(" events", from: start, to: end) != nil)
        {
            tally.notes.add(.eventsLost, at: offset)
        } else {
            tally.notes.add(open == nil ? .outside : .notUnderstood, at: offset)
        }
    }

    /// A map printed by `-f json`: the lines of its keys are the same as in the text output.
    private mutating func readMap(_ text: LogText, _ start: Int, _ end: Int, _ offset: UInt64, _ tally: Tally) {
        lose(tally)
        let broken = BpftraceJSON.read(text, start, end) { name, entry in
            self.start = offset &+ UInt64(entry.place - start)
            entry.key.withUnsafeBytes { bytes in
                let key = LogText(bytes)
                _ = key.lines(0, key.count) { line, lineEnd in
                    let isFrame = line > 0 && (key[line] == 0x20 || key[line] == 0x09)
                    let first = key.skipBlanks(line, lineEnd)
                    if isFrame, first < lineEnd, let frame = Self.frame(key, first, lineEnd) {
                        if stack.count < mostFrames { stack.append(tally.frame(of: key.raw(first, lineEnd)) { frame }) }
                    } else {
                        // The part before the stack ends with a comma, and the part after it begins with one.
                        var last = lineEnd, start = first
                        while last > start, key[last - 1] == 0x2C || key[last - 1] == 0x20 { last -= 1 }
                        while start < last, key[start] == 0x2C || key[start] == 0x20 { start += 1 }
                        if start < last { self.key += (self.key.isEmpty ? [] : [0x2C, 0x20]) + key.bytes(start, last) }
                    }
                    return true
                }
            }
            take(entry.value, name, tally)
        }
        if let broken {
            tally.notes.add(.cutRecord, at: offset &+ UInt64(broken - start))
            tally.recordsLost &+= 1
        }
    }

    /// The place of the `]: ` that ends a key.
    private static func closing(_ text: LogText, _ start: Int, _ end: Int) -> Int? {
        var found: Int?, from = start
        while let place = text.find("]: ", from: from, to: end) { (found, from) = (place, place + 1) }
        return found
    }

    /// `blocks` and `average` are from stats(), whose maps are printed by rising averages.
    struct Value { var first: UInt64, blocks: UInt64? = nil, average: UInt64 = 0, isNegative = false }

    /// `4096`, or `count 3, average 32, total 96`.
    private static func value(_ text: LogText, _ start: Int, _ end: Int) -> Value? {
        var place = start
        if text.has("count ", at: start), let word = text.find("total ", from: start, to: end) {
            place += 6
            guard let blocks = text.decimal(&place, end) else { return nil }
            var average: UInt64 = 0
            if var digits = text.find("average ", from: place, to: word).map({ $0 + 8 }) {
                average = text.decimal(&digits, end) ?? 0
            }
            place = word + 6
            guard let total = text.decimal(&place, end), place == end else {
                return text[place] == 0x2D ? Value(first: 0, blocks: 0, isNegative: true) : nil
            }
            return Value(first: total, blocks: blocks, average: average)
        }
        let isNegative = text[place] == 0x2D
        if isNegative { place += 1 }
        guard let value = text.decimal(&place, end), place == end else { return nil }
        return Value(first: value, isNegative: isNegative)
    }

    private mutating func take(_ value: Value, _ name: [UInt8], _ tally: Tally) {
        defer { (open, stack, key) = (nil, [], []) }
        tally.recordsRead &+= 1
        if maps[name] == nil {
            order.append(name)
            maps[name] = Map(meaning: value.blocks != nil ? .both : Self.meaning(of: name))
        }
        // If more was freed than allocated, nothing is live.
        let first = value.isNegative ? 0 : value.first
        let rank = value.blocks != nil ? value.average : first
        if rank < maps[name]?.last ?? 0 {
            maps[name]?.entries.removeAll()
            tally.notes.add(.printedAgain, at: start)
        }
        maps[name]?.last = rank
        if value.isNegative { tally.freed &+= 1 }
        guard first > 0 else { return }
        maps[name]?.entries.append(
            Entry(stack: stack, key: key, bytes: first, blocks: value.blocks ?? 0, offset: start))
    }

    /// If another key begins or the log ends, an open key has lost its value.
    private mutating func lose(_ tally: Tally) {
        if open != nil {
            tally.notes.add(.cutRecord, at: start)
            tally.recordsLost &+= 1
        }
        (open, stack, key) = (nil, [], [])
    }

    /// What a map's values mean, by its name.
    private static func meaning(of name: [UInt8]) -> Meaning {
        let word = name.map { $0 | 0x20 }
        return word.withUnsafeBytes { bytes in
            let text = LogText(bytes)
            func has(_ words: [StaticString]) -> Bool { words.contains { text.find($0, from: 0) != nil } }
            if has(["byte", "size", "mem", "sum"]) { return .bytes }
            return has(["count", "calls", "blocks", "objects", "num", "hits", "times"]) ? .blocks : .unknown
        }
    }

    mutating func finish(into tally: Tally) {
        lose(tally)
        let isTold = maps.values.contains { $0.meaning != .unknown }
        for name in order where maps[name]?.meaning == .unknown {
            let entries = maps[name]?.entries ?? []
            if let first = entries.first {
                tally.notes.add(isTold ? .mapLeftOut : .bytesAssumed, at: first.offset, count: UInt64(entries.count))
            }
        }
        let ofBytes = order.filter {
            maps[$0]?.meaning == .bytes || maps[$0]?.meaning == .both || (!isTold && maps[$0]?.meaning == .unknown)
        }
        let counts = order.filter { maps[$0]?.meaning == .blocks }.flatMap { maps[$0]?.entries ?? [] }
        var rows: [Int: (bytes: UInt64, blocks: UInt64, offset: UInt64)] = [:]
        for name in ofBytes {
            for entry in maps[name]?.entries ?? [] {
                let row = row(of: entry, map: ofBytes.count > 1 ? name : nil, tally)
                let known = rows[row] ?? (0, 0, entry.offset)
                rows[row] = (known.bytes &+ entry.bytes, known.blocks &+ entry.blocks, known.offset)
            }
        }
        if ofBytes.count > 1 { tally.notes.add(.mapsSummed, at: rows.values.map(\.offset).min() ?? 0) }
        for entry in counts {
            // A single map of bytes has the same rows. If there are several, it isn't known which one belongs to it.
            let row = row(of: entry, map: nil, tally)
            if rows[row] != nil {
                rows[row]?.blocks &+= entry.bytes
            } else {
                tally.addOfUnknownSize(row: row, blocks: entry.bytes, at: entry.offset)
            }
        }
        for (row, sum) in rows.sorted(by: { $0.value.offset < $1.value.offset }) {
            if sum.blocks == 0 { tally.notes.add(.blocksUnknown, at: sum.offset) }
            tally.add(row: row, bytes: sum.bytes, blocks: max(1, sum.blocks), at: sum.offset)
        }
    }

    private func row(of entry: Entry, map: [UInt8]?, _ tally: Tally) -> Int {
        var stack = entry.stack
        if !entry.key.isEmpty { stack.append(tally.number(of: LogFrame(name: entry.key))) }
        if let map { stack.append(tally.number(of: LogFrame(name: [0x40] + map))) }
        return tally.row(stack)
    }

    /// `name+598`, an address, or perf's `ffffffff8162df54 name+580 (module)`.
    private static func frame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var frame = LogFrame(), place = start, end = end
        if text[end - 1] == 0x29, let digitsEnd = Optional(text.wordEnd(start, end)), digitsEnd - start >= 8,
            let address = text.hexadecimal(&place, digitsEnd), place == digitsEnd,
            let open = text.find(" (", from: digitsEnd, to: end)
        {
            frame.address = address
            var last = open
            while let next = text.find(" (", from: last + 1, to: end) { last = next }
            frame.module = text.bytes(last + 2, end - 1)
            if frame.module == Array("[kernel.kallsyms]".utf8) || frame.module == Array("[unknown]".utf8) {
                frame.module = []
            }
            place = text.skipBlanks(digitsEnd, last)
            end = last
        }
        let first = place
        if let address = text.prefixedHexadecimal(&place, end), place == end {
            frame.address = address
            return frame
        }
        place = first
        var digits = end
        while digits > place, text[digits - 1] &- 0x30 < 10 { digits -= 1 }
        if digits < end, digits - 1 > place, text[digits - 1] == 0x2B {
            frame.name = text.bytes(place, digits - 1)
            frame.symbolOffset = text.decimal(&digits, end)
        } else {
            frame.name = text.bytes(place, end)
        }
        return frame
    }
}
