// heaptrack's recordings, as heaptrack_interpret writes them (heaptrack.PROGRAM.PID.zst or .gz). The format is that of
// its src/analyze/accumulatedtracedata.cpp: one line for each event, hexadecimal numbers; strings, frames and traces
// are numbered in the order of their appearance.
//
//     v 10500 3               version of heaptrack and of the file
//     s 5 names               a string, with its length from version 2 on
//     i 55d4 1 2 3 e          an address: module, function, file, line; more triples are functions inlined there
//     t 1 0                   a trace: its innermost address, and the trace of the caller
//     a 18 1                  a kind of allocation: bytes and trace
//     + 0   - 0               an allocation of that kind, a free
//
// What is allocated and not freed at the end is live.

import Reduce

struct HeaptrackLog: LogFormat {
    static var name: String { "heaptrack" }
    static var isSequential: Bool { true }

    private var version: UInt64 = 1
    private var strings: [[UInt8]] = []
    private var addresses: [[LogFrame]] = []
    private var traces: [(address: Int, parent: Int)] = []
    private var kinds: [(bytes: UInt64, trace: Int, live: Int64, offset: UInt64)] = []

    static func beginsRecord(_ text: LogText, at start: Int) -> Bool { true }

    static func recognizes(_ line: LogLine) -> Bool {
        let (text, start, end) = (line.text, line.start, line.end)
        guard text.has("v ", at: start) else { return false }
        var place = start + 2
        guard text.hexadecimal(&place, end) != nil, text[place] == 0x20 else { return false }
        place += 1
        // The next line says which program it is.
        return text.hexadecimal(&place, end) != nil && text.trimmedEnd(place, end) == place
            && text.has("X ", at: end + 1)
    }

    mutating func read(_ text: LogText, _ segment: LogSegment, base: UInt64, into tally: Tally) {
        segment.forEachLine(of: text, base: base) { start, end, offset in
            if !readLine(text, start, end, offset, tally) { tally.notes.add(.notUnderstood, at: offset) }
        }
    }

    /// Reads one line. False if it makes no sense.
    private mutating func readLine(_ text: LogText, _ start: Int, _ end: Int, _ offset: UInt64, _ tally: Tally) -> Bool
    {
        var place = start + 2
        func number() -> UInt64? {
            place = text.skipBlanks(place, end)
            return text.hexadecimal(&place, end)
        }
        func index(_ count: Int) -> Int? { number().flatMap { $0 > 0 && $0 <= UInt64(count) ? Int($0) : nil } }
        switch text[start] {
        case UInt8(ascii: "v"):
            _ = number()
            version = number() ?? 1
        case UInt8(ascii: "s"):
            if version >= 2 {
                guard number() != nil else { return false }
                place += 1
            }
            strings.append(text.bytes(place, end))
        case UInt8(ascii: "i"):
            guard let address = number(), let module = number() else { return false }
            var frames: [LogFrame] = []
            while let function = number() {
                var frame = LogFrame(address: address, name: string(function), module: string(module))
                if let file = number(), let line = number() {
                    (frame.file, frame.line) = (string(file), UInt32(clamping: line))
                }
                frames.append(frame)
            }
            if frames.isEmpty { frames.append(LogFrame(address: address, module: string(module))) }
            addresses.append(frames)
        case UInt8(ascii: "t"):
            guard let address = index(addresses.count), let parent = number(), parent <= UInt64(traces.count) else {
                return false
            }
            traces.append((address, Int(parent)))
        case UInt8(ascii: "a"):
            guard let bytes = number(), let trace = number(), trace <= UInt64(traces.count) else { return false }
            kinds.append((bytes, Int(trace), 0, offset))
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            guard let kind = number(), kind < UInt64(kinds.count) else { return false }
            let isFree = text[start] == UInt8(ascii: "-")
            kinds[Int(kind)].live += isFree ? -1 : 1
            tally.recordsRead &+= 1
            if isFree { tally.freed &+= 1 }
        case UInt8(ascii: "X"), UInt8(ascii: "c"), UInt8(ascii: "R"), UInt8(ascii: "I"), UInt8(ascii: "A"),
            UInt8(ascii: "S"), UInt8(ascii: "#"), UInt8(ascii: "x"), UInt8(ascii: "m"):
            break
        default: return start >= end
        }
        return true
    }

    private func string(_ number: UInt64) -> [UInt8] {
        number > 0 && number <= UInt64(strings.count) ? strings[Int(number) - 1] : []
    }

    mutating func finish(into tally: Tally) {
        for kind in kinds where kind.live > 0 {
            var stack: [UInt32] = [], trace = kind.trace
            // A trace's caller is older than the trace, so the loop ends.
            while trace > 0, stack.count < mostFrames {
                let entry = traces[trace - 1]
                for frame in addresses[entry.address - 1] { stack.append(tally.number(of: frame)) }
                trace = entry.parent < trace ? entry.parent : 0
            }
            let (bytes, overflow) = kind.bytes.multipliedReportingOverflow(by: UInt64(kind.live))
            tally.add(row: tally.row(stack), bytes: overflow ? .max : bytes, blocks: UInt64(kind.live), at: kind.offset)
        }
    }
}
