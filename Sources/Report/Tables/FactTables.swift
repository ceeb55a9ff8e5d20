// Images as tables for database engines: facts, with one row for each stack of each image, and stacks, with one row for
// each key and its frames. An engine that adds up ten thousand images gets the same sums as heapsum.
//
// Invariant: the sum of a column over an image's facts is the image's total, including stacks that hold nothing now,
// whose past blocks count, too. What can't be divided among a stack's verdicts is in the first of their rows alone.

import CHeapImage
import Glibc
import HeapImage
import Proc
import Reduce
import Symbols
import Text

/// The format of the rows.
package enum TableFormat: String, CaseIterable, Sendable {
    case csv, jsonl
}

/// One cell.
private enum Cell {
    case text(String), number(UInt64), seconds(Double), json(String), none
}

/// What an image says about a stack and a tag.
private struct Fact: Hashable { var key: StackKey, tag: StackTag? }

/// A stack and a tag, with all that is counted of them.
private struct FactRow {
    var node: UInt32, fact: Fact, counts: StackCounts
    var verdict = RowVerdict()
    var residentBytes: UInt64 = 0

    /// The live blocks by verdict, the worst first; blocks that the verdict doesn't cover are the last, without one.
    /// Never empty, and the sum is that of the live blocks: a verdict on more blocks than there are is none.
    var parts: [(verdict: Verdict?, live: Amount)] {
        let live = Amount(blocks: counts.liveBlocks, bytes: counts.liveBytes)
        var parts: [(verdict: Verdict?, live: Amount)] = [], rest = live
        for kind in Verdict.shown + [.unknown] where verdict[kind].blocks > 0 {
            let part = verdict[kind]
            guard part.blocks <= rest.blocks, part.bytes <= rest.bytes else { return [(nil, live)] }
            parts.append((kind, part))
            rest = Amount(blocks: rest.blocks - part.blocks, bytes: rest.bytes - part.bytes)
        }
        if rest != Amount() || parts.isEmpty { parts.append((nil, rest)) }
        return parts
    }
}

/// Writes the rows of a table, one line for each.
private struct TableWriter {
    let columns: [String]
    let format: TableFormat

    func heading() -> String { format == .csv ? columns.joined(separator: ",") + "\n" : "" }

    func line(_ cells: [Cell]) -> String {
        switch format {
        case .csv:
            cells.map { cell in
                switch cell {
                case .text(let text), .json(let text): Self.quoted(text)
                case .number(let number): "\(number)"
                case .seconds(let seconds): "\(seconds)"
                case .none: ""
                }
            }.joined(separator: ",") + "\n"
        case .jsonl:
            "{"
                + zip(columns, cells).map { name, cell in
                    let value =
                        switch cell {
                        case .text(let text): jsonString(text)
                        case .json(let text): text
                        case .number(let number): "\(number)"
                        case .seconds(let seconds): "\(seconds)"
                        case .none: "null"
                        }
                    return "\"\(name)\":\(value)"
                }.joined(separator: ",") + "}\n"
        }
    }

    /// For engines, not for spreadsheets: a path that begins with = stays unchanged.
    private static func quoted(_ text: String) -> String {
        text.contains { $0 == "," || $0 == "\"" || $0.isNewline }
            ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}

/// The facts and stacks of any number of images. Memory grows with the distinct stacks.
package final class FactTables {
    package static let factColumns = [
        "host", "boot", "pid", "start", "program", "build_id", "image", "kind", "state", "moment", "stack_key",
        "verdict", "bytes", "blocks", "allocated_bytes", "allocated_blocks", "freed_bytes", "freed_blocks",
        "peak_bytes", "peak_blocks", "temporary_blocks", "resident_bytes", "oldest_seconds", "tag",
    ]
    package static let stackColumns = ["stack_key", "depth", "function", "module", "calls", "frames"]

    private let facts: TableWriter
    private let stacks: TableWriter
    private let reduction = Reduction()
    private let names: FrameNames
    /// By node, without the names of JIT compilers, which are of one process each.
    private var keys: [StackKey] = []
    private var written: Set<StackKey> = []

    package init(format: TableFormat, symbolizer: Symbolizer) {
        facts = TableWriter(columns: Self.factColumns, format: format)
        stacks = TableWriter(columns: Self.stackColumns, format: format)
        names = FrameNames(reduction, symbolizer: symbolizer)
    }

    package var factHeading: String { facts.heading() }
    package var stackHeading: String { stacks.heading() }

    /// Adds an image: its facts, and its stacks that no earlier image had.
    ///
    /// - Parameter host: the host that recorded it, in the caller's words; empty if not known.
    /// - Throws: `InputError` if the image can't be read to its end, and what the outputs throw.
    /// - Complexity: O(blocks + nodes)
    package func add(_ image: HeapImage, host: String, facts factsOut: TextOutput, stacks stacksOut: TextOutput) throws
    {
        let image = try image.atOneMoment()
        // Of the live bytes of each stack, those in memory.
        let pages = image.storedPages().map(ResidentPages.init(stored:))
        var resident: [UInt32: UInt64] = [:]
        let census =
            try pages.map { pages in
                try image.census { batch in
                    for place in batch.indices {
                        let block = batch[place]
                        resident[block.stack, default: 0] &+= Reduction.residentBytes(
                            of: block, image.weight(block.bytes), pages)
                    }
                }
            } ?? image.census()
        var interned: [UInt32] = []
        reduction.intern(nodesOf: image, into: &interned)
        keys = reduction.stackKeys(keys)
        names.nameAddresses(by: image)
        var ownKeys: [UInt32: StackKey] = [:]
        let hasTags = image.hasFlag(HEAP_FLAG_TAGS)

        // Two of an image's stacks may have one key, because threads, tags, lines of Python's functions and places in a
        // JIT compiler's are not part of it.
        var places: [Fact: Int] = [:], placeOfStack: [UInt32: Int] = [:]
        var rows: [FactRow] = []
        for (stack, counts) in census.stacks.enumerated().dropFirst() {
            if counts.liveBlocks == 0 && counts.allocatedBlocks == 0 && counts.freedBlocks == 0 { continue }
            let node = Int(counts.node) < interned.count ? interned[Int(counts.node)] : 0
            let key =
                names.namesAddresses
                ? reduction.stackKey(of: node, keys, own: &ownKeys, compiled: names.compiledName) : keys[Int(node)]
            let fact = Fact(key: key, tag: hasTags ? reduction.tag(of: Row(node: node)) : nil)
            let place = places[fact] ?? rows.count
            if place < rows.count {
                rows[place].counts.add(counts)
            } else {
                places[fact] = place
                rows.append(FactRow(node: node, fact: fact, counts: counts))
            }
            placeOfStack[UInt32(stack)] = place
        }
        for said in image.storedVerdict()?.stacks ?? [] {
            if let place = placeOfStack[said.stack] { rows[place].verdict.add(said) }
        }
        for (stack, bytes) in resident {
            // Blocks of a stack that isn't there count for the empty one, as in the census.
            if let place = placeOfStack[stack] ?? placeOfStack[1] { rows[place].residentBytes &+= bytes }
        }
        try writeStacks(
            rows.filter { written.insert($0.fact.key).inserted }.map { ($0.fact.key, $0.node) }, to: stacksOut)
        try writeFacts(rows, knowsResidence: pages.map { !$0.isExhausted } ?? false, image, census, host, to: factsOut)
    }

    private func writeFacts(
        _ rows: [FactRow], knowsResidence: Bool, _ image: HeapImage, _ census: Census, _ host: String,
        to out: TextOutput
    ) throws {
        let header = image.header
        let started = header.started_realtime_ns
        let executable = image.modules().first { pathText($0.path) == image.program }
        let own: [Cell] = [
            .text(host), .text(hexadecimal(image.bootID)), .number(UInt64(header.pid)), .number(header.start_time),
            .text(image.program), .text(executable.map { hexadecimal($0.buildID) } ?? ""), .text(image.file),
            .text(image.kind == .dump ? "dump" : "image"), .text("\(image.effectiveState)"),
            started == 0 ? .none : .text(isoMilliseconds(Int64((started &+ census.momentNanoseconds) / 1_000_000))),
        ]
        let moment = Double(census.momentNanoseconds) / 1e9
        for row in rows {
            let parts = row.parts
            for (place, part) in parts.enumerated() {
                // What is known of the stack as a whole belongs to its first row, so that sums are right.
                let counts = place == 0 ? row.counts : StackCounts(), fact = row.fact
                // Piece by piece: some compilers give up on the types of one long sum.
                var cells = own
                cells.append(.text("\(fact.key)"))
                cells.append(part.verdict.map { .text($0.text) } ?? .none)
                cells += [.number(part.live.bytes), .number(part.live.blocks)]
                cells += [.number(counts.allocatedBytes), .number(counts.allocatedBlocks)]
                cells += [.number(counts.freedBytes), .number(counts.freedBlocks)]
                cells += [.number(counts.peak.bytes), .number(counts.peak.blocks), .number(counts.temporaryBlocks)]
                cells.append(knowsResidence ? .number(place == 0 ? row.residentBytes : 0) : .none)
                if counts.liveBlocks == 0 || parts.count > 1 {
                    cells.append(.none)
                } else {
                    let oldest = Double(milliseconds(ofTick: counts.oldestTick)) / 1000
                    cells.append(.seconds(max(0, moment - oldest)))
                }
                cells.append(fact.tag.map { .text($0.description) } ?? .none)
                try out.write(facts.line(cells))
            }
        }
    }

    private func writeStacks(_ fresh: [(key: StackKey, node: UInt32)], to out: TextOutput) throws {
        names.prepare(fresh.map { Row(node: $0.node) })
        for (key, node) in fresh {
            let frames = reduction.frames(of: Row(node: node)).filter { $0.isCode || $0.module == SpecialModule.cut }
            let entries = names.expanded(frames, limit: nil).entries
            let asker = entries.first { !names.standsBetween($0) }
            // An address is meaningful only in one process.
            let text = entries.map { entry in
                var entry = entry
                entry.address = nil
                return JSONReport().text(entry)
            }.joined(separator: ",")
            try out.write(
                stacks.line([
                    .text("\(key)"), .number(UInt64(entries.count)), .text(asker?.function ?? asker?.text ?? ""),
                    .text(asker?.modulePath ?? ""),
                    .text(entries.map { $0.function ?? $0.text }.joined(separator: " < ")), .json("[\(text)]"),
                ]))
        }
    }
}

extension StackCounts {
    fileprivate mutating func add(_ other: StackCounts) {
        liveBytes &+= other.liveBytes
        liveBlocks &+= other.liveBlocks
        oldestTick = min(oldestTick, other.oldestTick)
        newestTick = max(newestTick, other.newestTick)
        allocatedBlocks &+= other.allocatedBlocks
        allocatedBytes &+= other.allocatedBytes
        freedBlocks &+= other.freedBlocks
        freedBytes &+= other.freedBytes
        peak.bytes &+= other.peak.bytes
        peak.blocks &+= other.peak.blocks
        temporaryBlocks &+= other.temporaryBlocks
    }
}
