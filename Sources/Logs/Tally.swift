// What one worker has counted: live bytes and blocks by stack, for the set that it is in. Workers share
// nothing; their tallies are added up in the end.
//
// Invariant: equal stacks are one row, compared frame by frame; memory grows with unique stacks, and with
// live objects where a log tells of frees, never with records.

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
    private(set) var frames: [LogFrame] = []
    private var frameNumbers: [LogFrame: UInt32] = [:]
    private var tree = StackTree()
    private var rowOfNode: [UInt32] = []
    private(set) var nodeOfRow: [UInt32] = []
    private(set) var held: [Held] = []
    private(set) var ages: [Int: (oldest: Double, newest: Double)] = [:]
    var notes = LogNotes()
    /// Records that are in the log no more: cut off, or not to be read.
    var recordsLost: UInt64 = 0
    /// Records that were understood, whether anything of them is live or not; and those that freed an object.
    var recordsRead: UInt64 = 0
    var freed: UInt64 = 0

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

    func number(of frame: LogFrame) -> UInt32 {
        if let number = frameNumbers[frame] { return number }
        let number = UInt32(frames.count)
        frames.append(frame)
        frameNumbers[frame] = number
        return number
    }

    /// Says more of frames than was known when they were read: their numbers stay.
    func rename(_ body: (inout LogFrame) -> Void) {
        for index in frames.indices { body(&frames[index]) }
        frameNumbers.removeAll()
        for (number, frame) in frames.enumerated() { frameNumbers[frame] = UInt32(number) }
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
        var node: UInt32 = 0
        for frame in stack.reversed() { node = tree.intern(parent: node, frame: Frame(module: 0, offset: UInt64(frame))) }
        let place = Int(node)
        if place >= rowOfNode.count { rowOfNode.append(contentsOf: repeatElement(0, count: max(tree.count, place + 1) - rowOfNode.count)) }
        if rowOfNode[place] == 0 {
            held.append(Held())
            nodeOfRow.append(node)
            rowOfNode[place] = UInt32(held.count)
        }
        return Int(rowOfNode[place]) - 1
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

    /// The frames' numbers of a row, innermost first.
    func stack(of row: Int) -> [UInt32] { tree.frames(of: nodeOfRow[row]).map { UInt32($0.offset) } }

    /// Hands out the frames' numbers of a row, innermost first.
    func forEachFrame(of row: Int, _ body: (UInt32) -> Void) {
        tree.forEachFrame(of: nodeOfRow[row]) { body(UInt32(truncatingIfNeeded: $0.offset)) }
    }
}
