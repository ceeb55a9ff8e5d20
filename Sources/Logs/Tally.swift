// What one worker has counted: live bytes and blocks by stack, for the set that it is in. Workers share
// nothing; their tallies are added up in the end.
//
// Invariant: equal stacks are one row, compared frame by frame; memory grows with unique stacks, and with
// live objects where a log tells of frees, never with records. A traceback whose text is all that there is to know
// of it is a row by its text, and its frames are read in the end, once, where the row still holds anything.

import Reduce

/// What one row holds.
struct Held {
    var bytes: UInt64 = 0
    var blocks: UInt64 = 0
    /// Those of the blocks whose bytes are not known, and not in `bytes`.
    var blocksOfUnknownSize: UInt64 = 0
    /// The place of its first record in the log: rows stand in that order, however many workers there are.
    var first: UInt64 = 0
}

/// Counts of one worker.
final class Tally {
    private var table = LogFrameTable()
    var frames: [LogFrame] { table.frames }
    /// Stacks as their frames' numbers, each with its row.
    private let stacks = TextTable(limitBytes: .max)
    /// What a row's frames are known by: their numbers, or the text of their traceback.
    enum Source { case numbers(TextTable.Place), text(TextTable.Place) }
    private(set) var sources: [Source] = []
    private(set) var held: [Held] = []
    private(set) var ages: [Int: (oldest: Double, newest: Double)] = [:]
    var notes = LogNotes()
    /// Records that are in the log no more: cut off, or not to be read.
    var recordsLost: UInt64 = 0
    /// Records that were understood, whether anything of them is live or not; and those that freed an object.
    var recordsRead: UInt64 = 0
    var freed: UInt64 = 0

    /// By frame number, as far as somebody asked.
    var kernelTraits: [KernelFrameTraits] = []

    /// Tracebacks seen before, with their rows; and single lines of them, with their frames' numbers.
    let tracebacks = TextTable(limitBytes: 64 << 20)
    let lines = TextTable(limitBytes: 16 << 20)

    /// Forgets what was counted: a newer set begins. Stacks stay known.
    func reset() {
        for row in held.indices { held[row] = Held() }
        ages.removeAll()
        notes = LogNotes()
        (recordsLost, recordsRead, freed) = (0, 0, 0)
    }

    func number(of frame: LogFrame) -> UInt32 { UInt32(truncatingIfNeeded: table.number(of: frame)) }

    /// Says more of frames than was known when they were read: their numbers stay.
    func rename(_ body: (inout LogFrame) -> Void) {
        table.rename(body)
        kernelTraits.removeAll()
    }

    /// The frame's number that the line in `text` stands for; `read` is asked where the line is new.
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
            // Past 32 GB of unique stacks, which no machine gets to, all others would be one row.
            guard let place = stacks.keep(raw, hash: hash, number: UInt32(held.count)) else { return held.count - 1 }
            held.append(Held())
            sources.append(.numbers(place))
            return held.count - 1
        }
    }

    /// A row for a traceback that is not among `tracebacks` yet, by its text alone; nil where no more texts are kept.
    func row(ofNew text: UnsafeRawBufferPointer, hash: UInt64) -> Int? {
        guard let place = tracebacks.keep(text, hash: hash, number: UInt32(held.count)) else { return nil }
        held.append(Held())
        sources.append(.text(place))
        return held.count - 1
    }

    /// Takes over what another worker counted for tracebacks that this one knows too, so that each is read once.
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

    /// Blocks of which the log says how many there are, and not how large.
    func addOfUnknownSize(row: Int, blocks: UInt64, at offset: UInt64) {
        add(row: row, bytes: 0, blocks: blocks, at: offset)
        held[row].blocksOfUnknownSize &+= blocks
    }

    func addAge(row: Int, seconds: Double) {
        let known = ages[row] ?? (seconds, seconds)
        ages[row] = (max(known.oldest, seconds), min(known.newest, seconds))
    }

    /// Hands out the numbers of a stack's frames, innermost first.
    func forEachFrame(of stack: TextTable.Place, _ body: (UInt32) -> Void) {
        let raw = stacks.text(at: stack)
        for place in stride(from: 0, to: raw.count, by: 4) {
            body(raw.loadUnaligned(fromByteOffset: place, as: UInt32.self))
        }
    }
}
