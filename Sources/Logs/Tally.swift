// What one worker has counted: live bytes and blocks by stack, for its current set. Workers share nothing; their
// tallies are added up at the end.
//
// Invariant: equal stacks, compared frame by frame, are one row. Memory grows with unique stacks (and with live
// objects, if a log has frees), never with records. A traceback may be a row by its text; then its frames are read once
// at the end, if the row still holds anything.

import Reduce

/// What one row holds.
struct Held {
    var bytes: UInt64 = 0
    var blocks: UInt64 = 0
    /// How many of the blocks have no known size; `bytes` is without them.
    var blocksOfUnknownSize: UInt64 = 0
    /// The place of its first record in the log. It is the order of rows, for any number of workers.
    var first: UInt64 = 0
}

/// Counts of one worker.
final class Tally {
    private var table = LogFrameTable()
    var frames: [LogFrame] { table.frames }
    /// Stacks as lists of frame numbers, each with its row.
    private let stacks = TextTable(limitBytes: .max)
    /// The source of a row's frames: their numbers, or the traceback's text.
    enum Source { case numbers(TextTable.Place), text(TextTable.Place) }
    private(set) var sources: [Source] = []
    private(set) var held: [Held] = []
    private(set) var ages: [Int: (oldest: Double, newest: Double)] = [:]
    var notes = LogNotes()
    /// Records that could not be read or are cut off.
    var recordsLost: UInt64 = 0
    /// Records that could be read, live or not; and those that freed an object.
    var recordsRead: UInt64 = 0
    var freed: UInt64 = 0

    /// By frame number, as far as asked for.
    var kernelTraits: [KernelFrameTraits] = []

    /// Tracebacks seen before, with their rows; and single lines, with their frames' numbers.
    let tracebacks = TextTable(limitBytes: 64 << 20)
    let lines = TextTable(limitBytes: 16 << 20)

    /// Forgets the counts because a newer set begins. Stacks stay known.
    func reset() {
        for row in held.indices { held[row] = Held() }
        ages.removeAll()
        notes = LogNotes()
        (recordsLost, recordsRead, freed) = (0, 0, 0)
    }

    func number(of frame: LogFrame) -> UInt32 { UInt32(truncatingIfNeeded: table.number(of: frame)) }

    /// Completes frames with what was not known when they were read. Their numbers stay.
    func rename(_ body: (inout LogFrame) -> Void) {
        table.rename(body)
        kernelTraits.removeAll()
    }

    /// The number of the frame in the line `text`. `read` is called if the line is new.
    func frame(of text: UnsafeRawBufferPointer, _ read: () -> LogFrame) -> UInt32 {
        let hash = lines.hash(text)
        if let number = lines.find(text, hash: hash) { return number }
        let number = number(of: read())
        lines.keep(text, hash: hash, number: number)
        return number
    }

    /// The row of a stack, by its frames' numbers, innermost first.
    func row(_ stack: [UInt32]) -> Int {
        stack.withUnsafeBytes { raw in
            let hash = stacks.hash(raw)
            if let known = stacks.find(raw, hash: hash) { return Int(known) }
            // After 32 GB of unique stacks, which no machine reaches, all others would be one row.
            guard let place = stacks.keep(raw, hash: hash, number: UInt32(held.count)) else { return held.count - 1 }
            held.append(Held())
            sources.append(.numbers(place))
            return held.count - 1
        }
    }

    /// A row for a traceback that is not in `tracebacks` yet, by its text; nil if no more texts can be kept.
    func row(ofNew text: UnsafeRawBufferPointer, hash: UInt64) -> Int? {
        guard let place = tracebacks.keep(text, hash: hash, number: UInt32(held.count)) else { return nil }
        held.append(Held())
        sources.append(.text(place))
        return held.count - 1
    }

    /// Takes over another worker's counts for tracebacks that both know, so that each is read once.
    func absorb(_ other: Tally) {
        for (row, source) in other.sources.enumerated() where other.held[row].blocks > 0 {
            guard case .text(let place) = source else { continue }
            let text = other.tracebacks.text(at: place)
            guard let known = tracebacks.find(text, hash: tracebacks.hash(text)).map(Int.init) else { continue }
            let more = other.held[row]
            held[known].first = held[known].blocks > 0 ? min(held[known].first, more.first) : more.first
            held[known].bytes &+= more.bytes
            held[known].blocks &+= more.blocks
            held[known].blocksOfUnknownSize &+= more.blocksOfUnknownSize
            other.held[row] = Held()
        }
    }

    @inline(__always)
    func add(row: Int, bytes: UInt64, blocks: UInt64 = 1, at offset: UInt64) {
        if held[row].blocks == 0 { held[row].first = offset }
        held[row].bytes &+= bytes
        held[row].blocks &+= blocks
        recordsRead &+= 1
    }

    /// Adds blocks for which the log has a number and no size.
    func addOfUnknownSize(row: Int, blocks: UInt64, at offset: UInt64) {
        add(row: row, bytes: 0, blocks: blocks, at: offset)
        held[row].blocksOfUnknownSize &+= blocks
    }

    func addAge(row: Int, seconds: Double) {
        let known = ages[row] ?? (seconds, seconds)
        ages[row] = (max(known.oldest, seconds), min(known.newest, seconds))
    }

    /// Passes the numbers of a stack's frames to `body`, innermost first.
    func forEachFrame(of stack: TextTable.Place, _ body: (UInt32) -> Void) {
        let raw = stacks.text(at: stack)
        for place in stride(from: 0, to: raw.count, by: 4) {
            body(raw.loadUnaligned(fromByteOffset: place, as: UInt32.self))
        }
    }
}
