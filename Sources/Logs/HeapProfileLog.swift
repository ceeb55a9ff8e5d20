// Heap profiles in text: gperftools' (HEAPPROFILE, pprof's "heap profile:") and jemalloc's heap_v2 (prof.dump,
// MALLOC_CONF=prof:true):
//
//     heap profile:    2:  2048 [   3:   3072] @ heapprofile            heap_v2/524288
//        2:  2048 [   3:   3072] @ 0x55d4c7a2a1c9 0x55d4c7a2a1f0       @ 0x55d4c7a2a1c9 0x55d4c7a2a1f0
//                                                                          t*: 2: 2048 [3: 3072]
//     MAPPED_LIBRARIES:
//     55d4c7a2a000-55d4c7a2b000 r-xp 00001000 fe:00 131 /usr/bin/names
//
// Live blocks count, not all allocations. A sampled profile (heap_v2/RATE; heap/RATE, which has twice the rate) is
// scaled as in pprof: a row of n blocks and s bytes stands for 1 / (1 - e^(-s/n/RATE)) times as many. The mappings at
// the end turn frames into module and offset. Go's runtime (/debug/pprof/heap?debug=1) writes the names below each row:
//
//     10: 10240 [10: 10240] @ 0x4b3c32 0x437452
//     #   0x4b3c31   main.keep+0x51   /src/main.go:4

import Glibc
import Reduce

struct HeapProfileLog: LogFormat {
    static var name: String { "heap-profile" }
    static var isSequential: Bool { true }

    private enum Part { case stacks, mappings }
    private var part = Part.stacks
    private var rate = 0.0
    private var stack: [UInt32]?
    private var start: UInt64 = 0
    /// A row whose frames' names may follow.
    private struct Held { var stack: [UInt32], named: [UInt32] = [], bytes: UInt64, blocks: UInt64, offset: UInt64 }
    private var held: Held?
    private var mappings: [(start: UInt64, end: UInt64, bias: UInt64, path: [UInt8])] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { false }

    static func recognizes(_ line: LogLine) -> Bool {
        line.has("heap profile: ") || line.has("heap_v2/")
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { readLine(text, $0, text.trimmedEnd($0, $1), $2, tally) }
    }

    private mutating func readLine(_ text: LogText, _ line: Int, _ end: Int, _ offset: UInt64, _ tally: Tally) {
        let start = text.skipBlanks(line, end)
        if start >= end { return }
        if text[start] == 0x23 {
            // At the end, lines with a name and "=" are Go's runtime's statistics.
            if let frame = Self.namedFrame(text, start + 1, end) { held?.named.append(tally.number(of: frame)) }
            return
        }
        flush(tally)
        if text.has("MAPPED_LIBRARIES:", at: start) {
            part = .mappings
        } else if text.has("heap_v2/", at: start) || text.has("heap profile: ", at: start) {
            takeRate(text, start, end)
            if part == .mappings { tally.notes.add(.outside, at: offset) }
            tally.recordsRead &+= 1
        } else if part == .mappings {
            takeMapping(text, start, end)
        } else if text[start] == 0x40 {
            // jemalloc: the stack comes before its counts.
            stack = frames(text, start + 1, end, tally, offset)
            self.start = offset
        } else if text.has("t*: ", at: start), let stack {
            take(text, start + 4, end, stack, tally, offset)
            self.stack = nil
        } else if text[start] == UInt8(ascii: "t") {
            // Counts of one thread, which the sum includes; and the sum of all, before the first stack.
            return
        } else if let at = text.find(byte: 0x40, from: start, to: end) {
            take(text, start, at, frames(text, at + 1, end, tally, offset), tally, offset)
        } else {
            tally.notes.add(.notUnderstood, at: offset)
        }
    }

    /// `heap_v2/524288`, `heapz_v2/524288`, or `heap/1048576`, which has twice the rate.
    private mutating func takeRate(_ text: LogText, _ start: Int, _ end: Int) {
        let words: [(StaticString, Double)] = [("heap_v2/", 1), ("heapz_v2/", 1), ("@ heap/", 2)]
        for (word, divisor) in words {
            guard var place = text.find(word, from: start, to: end).map({ $0 + word.utf8CodeUnitCount }) else {
                continue
            }
            // Not `Double.init` as a function, which would take the UInt64 as bits.
            rate = (text.decimal(&place, end).map { Double($0) } ?? 0) / divisor
        }
    }

    private func frames(_ text: LogText, _ start: Int, _ end: Int, _ tally: Tally, _ offset: UInt64) -> [UInt32] {
        var frames: [UInt32] = [], place = text.skipBlanks(start, end)
        while place < end, frames.count < mostFrames, let address = text.prefixedHexadecimal(&place, end) {
            frames.append(tally.number(of: LogFrame(address: address)))
            place = text.skipBlanks(place, end)
        }
        if place < end { tally.notes.add(frames.count >= mostFrames ? .longStack : .badFrame, at: offset) }
        return frames
    }

    /// `2: 2048 [3: 3072]`.
    private mutating func take(
        _ text: LogText, _ start: Int, _ end: Int, _ stack: [UInt32], _ tally: Tally, _ offset: UInt64
    ) {
        var place = text.skipBlanks(start, end)
        guard let blocks = text.decimal(&place, end), text[place] == 0x3A else { return bad(tally, offset) }
        place = text.skipBlanks(place + 1, end)
        guard let bytes = text.decimal(&place, end) else { return bad(tally, offset) }
        tally.recordsRead &+= 1
        guard blocks > 0 else { return }
        let scale = rate > 1 ? 1 / (1 - exp(-Double(bytes) / Double(blocks) / rate)) : 1
        func scaled(_ value: UInt64) -> UInt64 {
            scale == 1 ? value : UInt64(exactly: (Double(value) * scale).rounded()) ?? value
        }
        held = Held(stack: stack, bytes: scaled(bytes), blocks: scaled(blocks), offset: offset)
    }

    /// `0x4b3c31 main.keep+0x51 /src/main.go:4`; nil for other lines.
    private static func namedFrame(_ text: LogText, _ start: Int, _ end: Int) -> LogFrame? {
        var place = text.skipBlanks(start, end)
        guard let address = text.prefixedHexadecimal(&place, end) else { return nil }
        let name = text.skipBlanks(place, end)
        guard name > place else { return nil }
        var frame = LogFrame(address: address)
        let tab = text.find(byte: 0x09, from: name, to: end) ?? end
        var nameEnd = text.trimmedEnd(name, tab)
        if let source = LeakSanitizerLog.source(text, text.skipBlanks(tab, end), end) {
            (frame.file, frame.line) = source
        }
        var last = nameEnd
        while last > name, text[last - 1] != 0x2B { last -= 1 }
        if last > name, var digits = Optional(last), let offset = text.prefixedHexadecimal(&digits, nameEnd),
            digits == nameEnd
        {
            frame.symbolOffset = offset
            nameEnd = last - 1
        }
        frame.name = text.bytes(name, nameEnd)
        return frame
    }

    private mutating func flush(_ tally: Tally) {
        guard let row = held else { return }
        held = nil
        tally.add(
            row: tally.row(row.named.isEmpty ? row.stack : row.named), bytes: row.bytes, blocks: row.blocks,
            at: row.offset)
    }

    private func bad(_ tally: Tally, _ offset: UInt64) {
        tally.notes.add(.badRecord, at: offset)
        tally.recordsLost &+= 1
    }

    /// `55d4c7a2a000-55d4c7a2b000 r-xp 00001000 fe:00 131 /usr/bin/names`.
    private mutating func takeMapping(_ text: LogText, _ start: Int, _ end: Int) {
        var place = start
        guard let from = text.hexadecimal(&place, end), text[place] == 0x2D else { return }
        place += 1
        guard let to = text.hexadecimal(&place, end), from < to, mappings.count < 65_536 else { return }
        place = text.skipBlanks(text.wordEnd(text.skipBlanks(place, end), end), end)
        guard let offset = text.hexadecimal(&place, end) else { return }
        for _ in 0 ..< 2 { place = text.wordEnd(text.skipBlanks(place, end), end) }
        let path = text.bytes(text.skipBlanks(place, end), end)
        guard path.first == 0x2F, from >= offset else { return }
        // A program with a fixed address has its addresses in the file. Others have their start as bias.
        let base = mappings.first { $0.path == path }?.bias ?? (from - offset <= 0x400000 ? 0 : from - offset)
        mappings.append((from, to, base, path))
    }

    mutating func finish(into tally: Tally) {
        flush(tally)
        guard !mappings.isEmpty else { return }
        mappings.sort { $0.start < $1.start }
        let mappings = mappings
        tally.rename { frame in
            guard let address = frame.address, frame.name.isEmpty else { return }
            var low = 0, high = mappings.count
            while low < high {
                let middle = (low + high) / 2
                if mappings[middle].end <= address { low = middle + 1 } else { high = middle }
            }
            guard low < mappings.count, mappings[low].start <= address, mappings[low].bias <= address else { return }
            frame.module = mappings[low].path
            frame.moduleOffset = address - mappings[low].bias
        }
    }
}
