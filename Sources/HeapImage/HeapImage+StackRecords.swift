// The entries of STACKS in any version of the image, with their entries in DETAILS. Only this file knows how a stack's
// levels and lifetimes are stored.
//
// In a running program's image, DETAILS is read after the stacks, because an entry is written before a stack refers to
// it.

import CHeapImage

/// What the image says about one stack: its folded counters, levels and lifetimes.
struct StackRecord {
    var node: UInt32
    var allocatedBlocks: UInt64
    var allocatedBytes: UInt64
    var freedBlocks: UInt64
    var freedBytes: UInt64
    var temporaryBlocks: UInt64
    /// What it held at the header's peak; nil if it has not changed since.
    var peak: Level?
    /// Snapshots from this one on were not copied: the stack has not changed since.
    var copiedSnapshots: Int
    fileprivate var store: Store

    fileprivate enum Store {
        /// The newest snapshot's entry, the lifetimes' entry, and the word for one lifetime.
        case details(StackDetails, snapshots: UInt32, lifetimes: UInt32, lifetime: UInt32)
        case version1(Version1)
    }

    /// 448 bytes; a class of its own, so that entries of today's version stay small.
    fileprivate final class Version1 {
        let entry: heap_stack_1
        init(_ entry: heap_stack_1) { self.entry = entry }
    }

    /// What the stack holds by the folded counters.
    var held: Level {
        Level(
            bytes: allocatedBytes >= freedBytes ? allocatedBytes - freedBytes : 0,
            blocks: allocatedBlocks >= freedBlocks ? allocatedBlocks - freedBlocks : 0)
    }

    /// What the stack held at snapshot `number`: the copy, or what it holds now if it has not changed since.
    ///
    /// - Complexity: O(snapshots)
    func level(_ number: Int) -> Level {
        guard number >= 0 && number < copiedSnapshots && number < Int(HEAP_SNAPSHOT_COUNT) else { return held }
        switch store {
        case let .details(details, snapshots, _, _): return details.level(number, newest: snapshots)
        case let .version1(old):
            return withUnsafeBytes(of: old.entry.levels) {
                Level(
                    copied: $0.loadUnaligned(
                        fromByteOffset: number * MemoryLayout<heap_level>.size, as: heap_level.self))
            }
        }
    }

    /// Freed blocks of lifetime `number`, which must not be the shortest: that one is the rest.
    func blocks(ofLifetime number: Int) -> UInt64 {
        guard number > 0 && number < LifetimeClass.count else { return 0 }
        switch store {
        case let .details(details, _, lifetimes, word):
            let own = Int(heap_lifetime_word_lifetime(word)) == number ? UInt64(heap_lifetime_word_blocks(word)) : 0
            return lifetimes == 0 ? own : own &+ details.lifetime(number, at: lifetimes)
        case let .version1(old):
            return withUnsafeBytes(of: old.entry.lifetimes) {
                $0.loadUnaligned(fromByteOffset: (number - 1) * 8, as: UInt64.self)
            }
        }
    }
}

/// Section DETAILS in memory.
final class StackDetails {
    private let entries: [heap_detail]
    /// References out of range, and lists without an end.
    fileprivate(set) var misses = 0

    fileprivate init(_ entries: [heap_detail]) { self.entries = entries }

    fileprivate func entry(_ number: UInt32, count: UInt32 = 1) -> heap_detail? {
        guard number > 0, UInt64(number) + UInt64(count) <= UInt64(entries.count) else {
            misses += 1
            return nil
        }
        return entries[Int(number)]
    }

    fileprivate func level(_ number: Int, newest: UInt32) -> Level {
        var next = newest, steps = 0
        var found: heap_snapshot?
        while next != 0 {
            guard steps < Int(HEAP_SNAPSHOT_ENTRIES), let entry = entry(next) else {
                if steps == Int(HEAP_SNAPSHOT_ENTRIES) { misses += 1 }
                break
            }
            let snapshot = unsafeBitCast(entry, to: heap_snapshot.self)
            if Int(snapshot.number) <= number && snapshot.number > found?.number ?? 0
                || found == nil && snapshot.number == 0
            {
                found = snapshot
            }
            next = snapshot.next
            steps += 1
        }
        return found.map { Level(copied: $0.held) } ?? Level()
    }

    fileprivate func lifetime(_ number: Int, at place: UInt32) -> UInt64 {
        guard entry(place, count: HEAP_LIFETIME_ENTRIES) != nil else { return 0 }
        return entries.withUnsafeBytes {
            $0.loadUnaligned(fromByteOffset: Int(place) * Int(HEAP_DETAIL_BYTES) + number * 8, as: UInt64.self)
        }
    }
}

extension HeapImage {
    /// Passes the entries of STACKS to `body`, in order, with their numbers.
    ///
    /// - Complexity: O(stacks). Takes memory for the details, and for a running program's stacks.
    func forEachStack(_ body: (Int, StackRecord) -> Void) {
        if header.version == HEAP_VERSION_1 {
            return forEachEntry(of: .stacks, as: heap_stack_1.self) { body($0, record($1)) }
        }
        if kind == .running && presence == .running {
            var stacks: [heap_stack] = []
            stacks.reserveCapacity(sections[SectionName.stacks.rawValue].readableEntries)
            forEachEntry(of: .stacks, as: heap_stack.self) { stacks.append($1) }
            // The stacks may refer to entries that were made since the header was read.
            let details = withFreshSections { readDetails() }
            for (number, stack) in stacks.enumerated() { body(number, record(stack, details)) }
            return noteMisses(details)
        }
        let details = readDetails()
        forEachEntry(of: .stacks, as: heap_stack.self) { body($0, record($1, details)) }
        noteMisses(details)
    }

    private func readDetails() -> StackDetails {
        var entries: [heap_detail] = []
        entries.reserveCapacity(sections[SectionName.details.rawValue].readableEntries)
        forEachEntry(of: .details, as: heap_detail.self) { entries.append($1) }
        return StackDetails(entries)
    }

    private func noteMisses(_ details: StackDetails) {
        if details.misses > 0 {
            note("\(details.misses) references to details of stacks are wrong", at: place(of: .details, 0))
        }
    }

    private func record(_ stack: heap_stack, _ details: StackDetails) -> StackRecord {
        let detail = stack.detail == 0 ? nil : details.entry(stack.detail)
        let isCopied = heap_levels_same_epoch(stack.levels, heap_levels(header.peak_epoch, 0)) != 0
        return StackRecord(
            node: stack.node, allocatedBlocks: stack.allocated_blocks, allocatedBytes: stack.allocated_bytes,
            freedBlocks: stack.freed_blocks, freedBytes: stack.freed_bytes, temporaryBlocks: stack.temporary_blocks,
            peak: isCopied ? detail.map { Level(copied: $0.peak) } ?? Level() : nil,
            copiedSnapshots: Int(heap_levels_snapshots(stack.levels)),
            store: .details(
                details, snapshots: detail?.snapshots ?? 0, lifetimes: detail?.lifetimes ?? 0, lifetime: stack.lifetime)
        )
    }

    private func record(_ stack: heap_stack_1) -> StackRecord {
        StackRecord(
            node: stack.node, allocatedBlocks: stack.allocated_blocks, allocatedBytes: stack.allocated_bytes,
            freedBlocks: stack.freed_blocks, freedBytes: stack.freed_bytes, temporaryBlocks: stack.temporary_blocks,
            peak: stack.peak_epoch == header.peak_epoch ? Level(copied: stack.peak) : nil,
            copiedSnapshots: Int(clamping: stack.snapshots), store: .version1(StackRecord.Version1(stack)))
    }
}
