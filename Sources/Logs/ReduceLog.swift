// Reduces a log: workers that share nothing read its chunks, and their counts are added to the same reduction as
// images.
//
// Invariant: the result does not depend on the number of workers or on which of them read what: rows are added in the
// order of their first record.

import Glibc
import HeapImage
import Proc
import Reduce

/// What is known about a reduced log besides its rows.
package struct LogSummary {
    /// Bytes read, after decompression.
    package var byteCount: UInt64 = 0
    /// Sets found.
    package var sets = 0
    /// Why no set counts, or why some don't; nil if all count.
    package var leftOut: String?

    package init() {}
}

/// Called during reading: bytes of the log so far, and the bytes of the file that they came from.
package typealias LogProgress = (_ bytes: UInt64, _ stored: UInt64) -> Void

extension Reduction {
    /// Adds the log in `stream`; if it has several sets, those that `choice` selects.
    ///
    /// - Parameter workers: how many read at once; 0: one for each processor.
    /// - Returns: how much was read, and what was left out. Damage is in the new input's list.
    /// - Throws: `LogError` if nothing in it can be used.
    /// - Complexity: O(bytes) time, O(unique stacks) memory; for SLUB traces also O(live objects).
    package func add(
        _ stream: LogStream, kind: LogKind, set choice: SetChoice = .last, kernel: KernelFacts = KernelFacts(),
        workers: Int = 0, progress: LogProgress? = nil
    ) throws(LogError) -> LogSummary {
        if let refusal = kind.format.refusal(ofFile: stream.name) { throw LogError(file: stream.name, what: refusal) }
        let reader = ChunkReader(stream, kind.format, progress: progress)
        let count =
            kind.format.isSequential ? 1 : workers > 0 ? workers : max(1, min(16, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        let lastHeading = choice == .last ? stream.lastHeading(of: kind.format) : nil
        let crew = (0 ..< count).map { _ in Worker(reader, kind.format, choice, kernel, lastHeading: lastHeading) }
        concurrently(crew) { $0.work() }

        var summary = LogSummary()
        summary.byteCount = reader.byteCount
        summary.sets = reader.set
        if let failure = reader.failure, reader.byteCount == 0 { throw failure }
        if case .number(let number) = choice, reader.set > 0, number > reader.set {
            summary.leftOut = "it has \(reader.set == 1 ? "1 set" : "\(reader.set) sets") and no set \(number)"
            return summary
        }
        var notes = LogNotes(), lost: UInt64 = 0, read: UInt64 = 0, freed: UInt64 = 0
        for worker in crew {
            notes.add(worker.preamble)
            if choice == .last && worker.set != reader.set { continue }
            notes.add(worker.tally.notes)
            lost &+= worker.tally.recordsLost
            read &+= worker.tally.recordsRead
            freed &+= worker.tally.freed
        }
        let counted = crew.filter { choice != .last || $0.set == reader.set }
        for worker in counted.dropFirst() { counted[0].tally.absorb(worker.tally) }
        let rows = Self.rows(counted)
        let complaint = stream.finish(at: reader.byteCount)
        if read == 0 && freed == 0 {
            if let complaint { throw LogError(file: stream.name, offset: complaint.offset, what: complaint.what) }
            // If nothing was read, nothing is live only if the log has no content: an empty file, or just a heading.
            let isEmpty = lost == 0 && notes[.outside] == 0 && notes[.notUnderstood] == 0
            let saysNothing =
                isEmpty
                && (kind.format.mayBeEmpty
                    ? reader.byteCount == 0 || notes.isEmpty : reader.set > 0 && kind.format.heading != nil)
            guard saysNothing else {
                let what =
                    reader.byteCount == 0
                    ? "empty" : "no record of a log of kind \(kind.rawValue) in it that can be read"
                throw LogError(
                    file: stream.name, offset: 0, what: what, details: Self.failures(crew.flatMap(\.failures)))
            }
        }

        let isAll = choice == .all
        var input = Input(path: stream.name, kind: kind.rawValue)
        input.isOfKernel = kind.format.isOfKernel
        input.sets = isAll ? max(reader.set, 1) : 1
        input.recordsLost = lost
        input.damages = notes.list(damages: true, file: stream.name) + (complaint.map { [$0] } ?? [])
        if let failure = reader.failure {
            input.damages.append(
                Damage(file: stream.name, offset: failure.offset ?? 0, lostBytes: 0, count: 1, what: failure.what))
        }
        input.passedOver = notes.list(damages: false, file: stream.name)
        var detail = "\(kind.rawValue) log"
        if reader.set > 1 {
            switch choice {
            case .all: detail += ", \(reader.set) sets"
            case .last: detail += ", set \(reader.set) of \(reader.set)"
            case .number(let number): detail += ", set \(number) of \(reader.set)"
            }
            let why = choice == .last ? "the last is newer" : "another was chosen"
            if !isAll { summary.leftOut = "\(reader.set - 1) of its \(reader.set) sets: \(why)" }
        }
        if rows.isEmpty { detail += freed > 0 ? ", nothing live, \(freed) freed" : ", nothing live" }
        input.detail = detail
        add(rows, kind.format, input: begin(input))
        return summary
    }

    /// The first lines that could not be read as records, each with the reason.
    private static func failures(_ lines: [LogFailure]) -> [String] {
        lines.sorted { $0.offset < $1.offset }.prefix(3).flatMap {
            ["    byte \($0.offset): \($0.text)", "        \($0.note.text)"]
        }
    }

    /// The workers' rows, in the order of their first records.
    private static func rows(_ crew: [Worker]) -> [(worker: Worker, row: Int, held: Held)] {
        var rows: [(worker: Worker, row: Int, held: Held)] = []
        for worker in crew {
            for (row, held) in worker.tally.held.enumerated() where held.blocks > 0 || held.bytes > 0 {
                rows.append((worker, row, held))
            }
        }
        rows.sort { ($0.held.first, $0.row) < ($1.held.first, $1.row) }
        return rows
    }

    private func add(_ rows: [(worker: Worker, row: Int, held: Held)], _ format: any LogFormat.Type, input: Int) {
        var stack: [Frame] = []
        for (worker, row, held) in rows {
            let tally = worker.tally
            stack.removeAll(keepingCapacity: true)
            switch tally.sources[row] {
            case .text(let place):
                format.readTraceback(LogText(tally.tracebacks.text(at: place))) { stack.append(frame($0)) }
            case .numbers(let place):
                tally.forEachFrame(of: place) { stack.append(worker.made(Int($0)) { frame(tally.frames[$0]) }) }
            }
            let ages = tally.ages[row]
            add(
                frames: stack, bytes: held.bytes, blocks: held.blocks, blocksOfUnknownSize: held.blocksOfUnknownSize,
                input: input,
                ageSeconds: ages?.oldest, newestSeconds: ages?.newest)
        }
    }
}

/// A line that could not be read as a record.
struct LogFailure { var offset: UInt64, text: String, note: LogNote }

/// A worker: reads chunks until there are no more.
private final class Worker {
    let tally = Tally()
    /// Notes from before the first set.
    var preamble = LogNotes()
    /// The newest set that it counted.
    var set = 0
    private let reader: ChunkReader
    private let format: any LogFormat.Type
    private let choice: SetChoice
    private let kernel: KernelFacts
    /// The first unreadable lines, one for each kind of note, as long as there is no record.
    private(set) var failures: [LogFailure] = []

    /// Sets that begin before this place are older than the last.
    private let lastHeading: UInt64

    init(
        _ reader: ChunkReader, _ format: any LogFormat.Type, _ choice: SetChoice, _ kernel: KernelFacts,
        lastHeading: UInt64?
    ) {
        self.lastHeading = lastHeading ?? 0
        self.kernel = kernel
        self.reader = reader
        self.format = format
        self.choice = choice
    }

    /// The reduction's frames for its tally's frames: each is looked up once, not once for each stack.
    private var made: [Frame?] = []

    func made(_ number: Int, _ make: (Int) -> Frame) -> Frame {
        if made.isEmpty { made = Array(repeating: nil, count: tally.frames.count) }
        if let known = made[number] { return known }
        let new = make(number)
        made[number] = new
        return new
    }

    func work() { work(format) }

    private func work<Format: LogFormat>(_ type: Format.Type) {
        var format = Format(file: reader.name, kernel: kernel)
        let chunk = Chunk()
        while reader.next(chunk) {
            let text = chunk.text
            for (set, segment) in chunk.segments {
                if set == 0 {
                    format.read(text, segment, base: chunk.base, into: tally)
                    keepFailures(text, chunk.base)
                    preamble.add(tally.notes)
                    tally.notes = LogNotes()
                    continue
                }
                if case .number(let number) = choice, set != number { continue }
                if chunk.base &+ UInt64(segment.start) < lastHeading { continue }
                if set != self.set {
                    if choice == .last { tally.reset() }
                    self.set = set
                }
                format.read(text, segment, base: chunk.base, into: tally)
                if tally.recordsRead == 0 { keepFailures(text, chunk.base) }
            }
            if chunk.isForced { tally.notes.add(.longRecord, at: chunk.base) }
        }
        format.finish(into: tally)
        // A format without lines has nothing to show but place and reason.
        if Format.isBinary, tally.recordsRead == 0 {
            keepFailures(LogText(UnsafeRawBufferPointer(start: nil, count: 0)), 0)
        }
    }

    /// Keeps the lines of the notes, in case that nothing else is found.
    private func keepFailures(_ text: LogText, _ base: UInt64) {
        for note in LogNote.allCases {
            guard failures.count < 8, !failures.contains(where: { $0.note == note }),
                let first = tally.notes.first(note), first >= base
            else { continue }
            let place = min(Int(clamping: first - base), text.count)
            // A line that is cut off ends at the place.
            let start = place == text.lineEnd(from: place) ? text.lineStart(before: place) : place
            let end = text.trimmedEnd(start, min(text.lineEnd(from: start), start + 120))
            let bytes = text.bytes(text.skipBlanks(start, end), end)
            failures.append(
                LogFailure(
                    offset: first, text: String(decoding: bytes.map { $0 < 0x20 ? 0x20 : $0 }, as: UTF8.self),
                    note: note))
        }
    }
}

/// Runs `body` for all `items` at once, and waits. The first runs on this thread, each other on its own, or here if
/// the system refuses a thread.
private func concurrently<Item: AnyObject>(_ items: [Item], _ body: @escaping (Item) -> Void) {
    var threads: [pthread_t] = []
    var here = Array(items.prefix(1))
    for item in items.dropFirst() {
        if let thread = startThread({ body(item) }) { threads.append(thread) } else { here.append(item) }
    }
    for item in here { body(item) }
    for thread in threads { pthread_join(thread, nil) }
}
