// A verdict that an image stores: for each stack how many of its blocks are lost or held, the tree of holders, and what
// the verdict could not read. It is checked like the rest of an image, and written by packing.

import CHeapImage
import Text

/// The blocks of one stack with the same verdict.
package struct StackVerdict: Equatable, Sendable {
    /// The image's number.
    package var stack: UInt32
    package var verdict: Verdict
    package var own = Amount()
    /// The blocks that are indirectly lost through definitely lost ones.
    package var dragged = Amount()
    /// The lowest address among the blocks.
    package var example: UInt64 = 0

    package init(stack: UInt32, verdict: Verdict, example: UInt64) {
        (self.stack, self.verdict, self.example) = (stack, verdict, example)
    }
}

/// A line of the tree of holders.
package struct StoredHolder: Equatable, Sendable {
    /// A root's name; empty for blocks, which their stack names.
    package var name: String
    package var stack: UInt32?
    package var isSharedByRoots: Bool
    package var depth: Int
    /// The line's own blocks; none for a root.
    package var own: Amount
    /// What would be freed with it, itself included.
    package var kept: Amount

    package init(name: String, stack: UInt32?, isSharedByRoots: Bool, depth: Int, own: Amount, kept: Amount) {
        (self.name, self.stack, self.isSharedByRoots) = (name, stack, isSharedByRoots)
        (self.depth, self.own, self.kept) = (depth, own, kept)
    }
}

/// A verdict, as an image stores it.
package struct StoredVerdict: Equatable, Sendable {
    package var stacks: [StackVerdict] = []
    package var holders: [StoredHolder] = []
    /// What could not be read. If there is any, no block is called definitely lost.
    package var notRead: [String] = []
    package var notes: [String] = []
    package var pauseNanoseconds: UInt64 = 0

    package init() {}

    /// Sums over all stacks.
    package var totals: [Verdict: Amount] {
        stacks.reduce(into: [:]) { $0[$1.verdict, default: Amount()].add($1.own) }
    }
}

/// A verdict to write with an image's blocks.
package struct VerdictToStore {
    /// Holders, and what could not be read. Its stacks are made again from the blocks that are written.
    package var known: StoredVerdict
    /// A block's verdict, and the blocks that are indirectly lost through it.
    package var judge: (LiveBlock) -> (verdict: Verdict, dragged: Amount)

    package init(known: StoredVerdict, judge: @escaping (LiveBlock) -> (verdict: Verdict, dragged: Amount)) {
        (self.known, self.judge) = (known, judge)
    }
}

extension HeapImage {
    /// Whether there is a section VERDICTS: only in dense images that say so.
    package var hasVerdict: Bool { kind != .running && hasFlag(HEAP_FLAG_VERDICT) }

    /// The verdict that the image stores; nil if it has none. Entries that make no sense are noted as damage and
    /// skipped.
    ///
    /// - Complexity: O(entries)
    package func storedVerdict() -> StoredVerdict? {
        guard hasVerdict else { return nil }
        var stored = StoredVerdict()
        let stacks = UInt64(sections[SectionName.stacks.rawValue].readableEntries)
        // Overlapping texts could be read again and again, so no more bytes are read than STRINGS has.
        var unreadBytes = sections[SectionName.strings.rawValue].readableEntries
        func text(_ string: heap_string, _ index: Int) -> String {
            let bytes = min(Int(string.length), Self.longestVerdictText)
            guard bytes <= unreadBytes else {
                note("texts of a verdict that overlap", at: place(of: .verdicts, index))
                return ""
            }
            unreadBytes -= bytes
            return self.text(string, limit: Self.longestVerdictText)
        }
        forEachEntry(of: .verdicts, as: heap_verdict.self) { index, entry in
            if entry.stack > 0 && UInt64(entry.stack) >= stacks {
                note("a verdict on a stack that isn't there", at: place(of: .verdicts, index))
                return
            }
            let own = Amount(blocks: entry.blocks, bytes: entry.bytes),
                more = Amount(blocks: entry.more_blocks, bytes: entry.more_bytes)
            switch entry.kind {
            case HEAP_VERDICT_UNKNOWN.rawValue ... HEAP_VERDICT_INDIRECT.rawValue:
                guard let verdict = Verdict(rawValue: UInt8(entry.kind)) else { return }
                var said = StackVerdict(stack: entry.stack, verdict: verdict, example: entry.address)
                (said.own, said.dragged) = (own, more)
                stored.stacks.append(said)
            case HEAP_VERDICT_HOLDER.rawValue:
                guard Int(entry.depth) <= min((stored.holders.last?.depth ?? -1) + 1, Self.deepestHolder) else {
                    note("a holder without the line that holds it", at: place(of: .verdicts, index))
                    return
                }
                stored.holders.append(
                    StoredHolder(
                        name: text(entry.text, index), stack: entry.stack > 0 ? entry.stack : nil,
                        isSharedByRoots: entry.flags & HEAP_VERDICT_SEVERAL_ROOTS != 0, depth: Int(entry.depth),
                        own: own, kept: more))
            case HEAP_VERDICT_NOT_READ.rawValue: stored.notRead.append(text(entry.text, index))
            case HEAP_VERDICT_NOTE.rawValue: stored.notes.append(text(entry.text, index))
            case HEAP_VERDICT_PAUSE.rawValue: stored.pauseNanoseconds = entry.blocks
            default: break
            }
        }
        return stored
    }

    static let longestVerdictText = 4096
    /// A line is indented by its depth.
    static let deepestHolder = 64
}

// MARK: - Writing

/// A verdict that is being written to an image. Its stacks are summed up while the blocks are written.
struct VerdictSection {
    private var verdict: VerdictToStore
    private var places: [UInt64: Int] = [:]
    private(set) var entries: [heap_verdict] = []
    private(set) var strings: [UInt8] = []

    init(_ verdict: VerdictToStore) { self.verdict = verdict }

    /// Counts a block that is written.
    mutating func add(_ block: LiveBlock) {
        let (said, dragged) = verdict.judge(block)
        let key = UInt64(block.stack) << 8 | UInt64(said.rawValue), place: Int
        if let known = places[key] {
            place = known
        } else {
            place = entries.count
            places[key] = place
            var entry = heap_verdict()
            (entry.kind, entry.stack, entry.address) = (UInt32(said.rawValue), block.stack, block.address)
            entries.append(entry)
        }
        entries[place].blocks &+= 1
        entries[place].bytes &+= block.bytes
        entries[place].more_blocks &+= dragged.blocks
        entries[place].more_bytes &+= dragged.bytes
        entries[place].address = min(entries[place].address, block.address)
    }

    /// Adds what does not belong to single blocks, for an image whose strings take `firstOffset` bytes. A text that
    /// finds no space is left out: its entry's kind says the most important.
    mutating func finish(firstOffset: UInt64) {
        func place(_ text: String) -> heap_string {
            let bytes = Array(text.pathBytes.prefix(HeapImage.longestVerdictText))
            let offset = firstOffset + UInt64(strings.count)
            guard !bytes.isEmpty, offset + UInt64(bytes.count) <= UInt64(UInt32.max) else { return heap_string() }
            strings += bytes
            return heap_string(offset: UInt32(offset), length: UInt32(bytes.count))
        }
        func add(_ kind: heap_verdict_kind, _ change: (inout heap_verdict) -> Void) {
            var entry = heap_verdict()
            entry.kind = kind.rawValue
            change(&entry)
            entries.append(entry)
        }
        let known = verdict.known
        for holder in known.holders {
            add(HEAP_VERDICT_HOLDER) {
                ($0.stack, $0.depth) = (holder.stack ?? 0, UInt32(clamping: holder.depth))
                $0.flags = holder.isSharedByRoots ? HEAP_VERDICT_SEVERAL_ROOTS : 0
                ($0.blocks, $0.bytes) = (holder.own.blocks, holder.own.bytes)
                ($0.more_blocks, $0.more_bytes) = (holder.kept.blocks, holder.kept.bytes)
                $0.text = place(holder.name)
            }
        }
        for text in known.notRead { add(HEAP_VERDICT_NOT_READ) { $0.text = place(text) } }
        for text in known.notes { add(HEAP_VERDICT_NOTE) { $0.text = place(text) } }
        if known.pauseNanoseconds > 0 { add(HEAP_VERDICT_PAUSE) { $0.blocks = known.pauseNanoseconds } }
    }
}
