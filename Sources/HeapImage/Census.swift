// The census of an image: what each stack holds and has held, from the live blocks, the folded
// counters and the rings together.
//
// The live map is the truth about live blocks. The counters are the folded ones plus the rings' events that are not
// folded yet. For a program that is gone, both must agree: if a kill interrupted a fold, `settle` completes the
// counters. Memory grows with the stacks, never with the blocks.

import CHeapImage
import Glibc
import Proc
import Text

/// What one stack holds, and has held.
package struct StackCounts: Equatable {
    package var liveBytes: UInt64 = 0
    package var liveBlocks: UInt64 = 0
    /// Ticks of the oldest and the newest live block; meaningless if there is none.
    package var oldestTick: UInt32 = .max
    package var newestTick: UInt32 = 0
    /// The innermost frame's node; 0: the empty stack.
    package var node: UInt32 = 0
    package var allocatedBlocks: UInt64 = 0
    package var allocatedBytes: UInt64 = 0
    package var freedBlocks: UInt64 = 0
    package var freedBytes: UInt64 = 0
    /// What it held at the process's peak.
    package var peak = Level()
    package var temporaryBlocks: UInt64 = 0
    /// Of the live bytes and blocks, where the image is sampled.
    package var variance = Variance()

    package init() {}
}

/// The sums over an image, one row for each stack.
package struct Census {
    /// Entry i is stack i. Entry 0 names no stack; entry 1 is the empty stack.
    package var stacks: [StackCounts] = []
    package var liveBytes: UInt64 = 0
    package var liveBlocks: UInt64 = 0
    /// The number of live blocks in the image. In a sampled image they stand for others too.
    package var liveRecords: UInt64 = 0
    /// Of the live bytes and blocks, where the image is sampled.
    package var variance = Variance()
    /// The most bytes that were live at once, and the blocks at that moment.
    package var peak = Level()
    /// The image's moment: nanoseconds since the recording's start.
    package var momentNanoseconds: UInt64 = 0
    /// Nanoseconds from the recording's start to the last event, if a dense image has it.
    package var lastEventNanoseconds: UInt64 = 0
    /// Events taken from the rings.
    package var replayedEvents = 0
    /// Blocks by which counters were adjusted to the live map.
    package var settledBlocks: UInt64 = 0
    /// Reallocations that were in flight.
    package var inFlight = 0
    /// Records of live blocks that a dense image has lost because it was cut off.
    package var lostRecords: UInt64 = 0
    /// Live blocks that name a stack number out of range; they are counted under the empty stack.
    var strayBlocks = 0
    /// Frees among the replayed events, for the lifetimes: the stack, the block's age in milliseconds, and what
    /// it counts for.
    var replayedFrees: [(stack: UInt32, milliseconds: UInt64, blocks: UInt64)] = []

    package init() {}
}

extension HeapImage {
    /// Counts the image in whole blocks. `alsoBlocks` also gets each batch of live blocks.
    ///
    /// - Throws: what `alsoBlocks` throws, and `InputError` where a running image can't be read again.
    /// - Complexity: O(blocks + stacks) time, O(stacks) memory.
    package func census(alsoBlocks: ((Span<LiveBlock>) throws -> Void)? = nil) throws -> Census {
        try wholeBlocks(storedCensus(alsoBlocks: alsoBlocks))
    }

    /// The same with blocks in the image's own unit, as its copy needs it.
    ///
    /// In a running program's image, the blocks are read first and their stacks afterwards, so that every block's stack
    /// is known.
    ///
    /// - Throws: what `alsoBlocks` throws, and `InputError` if a running image can't be read again.
    /// - Complexity: O(blocks + stacks) time, O(stacks) memory.
    func storedCensus(alsoBlocks: ((Span<LiveBlock>) throws -> Void)? = nil) throws -> Census {
        var census = Census()
        var threads = threads()
        let inFlight = inFlightReallocations(threads)
        census.inFlight = inFlight.count
        var watch = Watch(
            watched: threads.lazy.flatMap(\.uncommitted).map(\.address), skipped: Self.skipped(for: inFlight))

        // A running program makes some stacks while it is read. The room for them bounds what a damaged slot can make
        // us allocate.
        let readable = sections[SectionName.stacks.rawValue].readableEntries
        let running = kind == .running && presence == .running
        let room =
            running
            ? min(sections[SectionName.stacks.rawValue].roomEntries, Int(HEAP_STACK_LIMIT), readable * 2 + 65_536)
            : min(readable, Int(HEAP_STACK_LIMIT))
        census.stacks = [StackCounts](
            repeating: StackCounts(), count: max(2, min(readable, Int(HEAP_STACK_LIMIT))))
        try forEachBlock(inFlight: inFlight, watch: &watch) { batch in
            if isSampled { census.addSampled(batch, room: room, weight) } else { census.add(batch, room: room) }
            try alsoBlocks?(batch)
        }
        if kind != .running {
            let blocks = sections[SectionName.blocks.rawValue]
            let recorded = min(blocks.used, UInt64(blocks.roomEntries))
            let found = census.liveRecords &- UInt64(inFlight.count { $0.block != nil })
            census.lostRecords = recorded > found && blocks.readableEntries < blocks.roomEntries ? recorded - found : 0
            // Plus those that were lost before this copy was made.
            census.lostRecords = census.lostRecords.addingReportingOverflow(losses.lost_records).partialValue
        }
        if census.strayBlocks > 0 {
            note(
                "\(census.strayBlocks) live blocks that name a stack number out of range",
                at: place(of: .stacks, readable))
        }
        if running {
            try refresh()
            threads = self.threads()
        }
        census.lastEventNanoseconds = lastEvent(census, threads)
        census.momentNanoseconds = moment(census)
        let events =
            threads.flatMap(\.unfolded)
            + (running ? [] : threads.flatMap { Self.happened($0.uncommitted, $0.inFlight, watch) })
        countFolded(&census, events)
        if kind != .dump && presence == .gone { census.settle() }
        return census
    }

    /// What each stack has allocated and freed, without reading the live blocks: it holds the difference. Ages and live
    /// sums are not filled in.
    ///
    /// - Throws: `InputError` if the image can't be read any more.
    /// - Complexity: O(stacks)
    package func counters() throws(InputError) -> Census {
        try refresh()
        let threads = threads()
        var census = Census()
        census.stacks = [StackCounts](
            repeating: StackCounts(),
            count: max(2, min(sections[SectionName.stacks.rawValue].readableEntries, Int(HEAP_STACK_LIMIT))))
        countFolded(&census, threads.flatMap(\.unfolded))
        return wholeBlocks(census)
    }

    /// The uncommitted events of one thread that did happen, decided by their blocks' slots.
    static func happened(_ events: [Event], _ inFlight: InFlight?, _ watch: Watch) -> [Event] {
        func slotHolds(_ event: Event) -> Bool {
            watch.seen[event.address]?.contains(
                LiveBlock(
                    address: event.address, bytes: event.bytes, stack: event.stack, tick: event.allocatedTick)) ?? false
        }
        // Either both halves of a reallocation happened or neither did. The new block's slot decides, not the old
        // one's: for a reallocation in place with the same size and stack, the two words are equal.
        let newHalf = events.first { $0.isReallocation && !$0.isFree }
        return events.filter { event in
            if event.isReallocation {
                if let inFlight { return inFlight.returned }
                if let newHalf { return slotHolds(newHalf) }
            }
            return slotHolds(event) != event.isFree
        }
    }

    /// Nanoseconds from the recording's start to a time of CLOCK_MONOTONIC (default: now). 0 if it is before the start.
    func nanosecondsSinceStart(_ monotonicNanoseconds: UInt64? = nil) -> UInt64 {
        let moment = monotonicNanoseconds ?? clockNanoseconds(CLOCK_MONOTONIC)
        return moment > header.started_monotonic_ns ? moment - header.started_monotonic_ns : 0
    }

    /// The image's moment.
    private func moment(_ census: Census) -> UInt64 {
        if let writing = writingNanoseconds, writing.ended > 0 { return writing.ended }
        if kind == .running && presence == .running {
            let now = nanosecondsSinceStart()
            if now > 0 { return now }
        }
        return max(census.lastEventNanoseconds, timeline().last?.nanoseconds ?? 0) // a program that is gone
    }

    /// The time of the program's last known activity: an event, or a fold of events.
    private func lastEvent(_ census: Census, _ threads: [ThreadRecord]) -> UInt64 {
        var tick: UInt32 = 0, folded: UInt64 = 0
        for stack in census.stacks where stack.liveBlocks > 0 { tick = max(tick, stack.newestTick) }
        for thread in threads {
            folded = max(folded, thread.foldedMilliseconds)
            for event in thread.unfolded { tick = max(tick, event.tick) }
        }
        let nanoseconds = max(heap_tick_milliseconds(tick), folded).multipliedReportingOverflow(by: 1_000_000)
        return nanoseconds.overflow ? 0 : nanoseconds.partialValue
    }

    /// Adds the folded counters and then the events to the census, and finds the peak.
    private func countFolded(_ census: inout Census, _ events: [Event]) {
        // Stacks that have not changed since the peak. Their peak is what they hold as folded, plus what the rings add.
        var peakIsFolded = [Bool](repeating: false, count: census.stacks.count)
        var foldedTotal: UInt64 = 0
        let nodeCount = UInt32(clamping: sections[SectionName.nodes.rawValue].readableEntries)
        forEachStack { index, entry in
            if index == 0 || index >= Int(HEAP_STACK_LIMIT) { return }
            if index >= census.stacks.count {
                census.stacks.append(StackCounts())
                peakIsFolded.append(false)
            }
            let held = entry.held
            foldedTotal &+= held.bytes
            peakIsFolded[index] = entry.peak == nil
            var node = entry.node
            if node >= nodeCount && node > 0 {
                note("a stack names a node out of range", at: place(of: .stacks, index))
                node = 0
            }
            census.stacks[index].node = node
            census.stacks[index].allocatedBlocks = entry.allocatedBlocks
            census.stacks[index].allocatedBytes = entry.allocatedBytes
            census.stacks[index].freedBlocks = entry.freedBlocks
            census.stacks[index].freedBytes = entry.freedBytes
            census.stacks[index].temporaryBlocks = entry.temporaryBlocks
            census.stacks[index].peak = entry.peak ?? held
        }
        let known = sections[SectionName.stacks.rawValue].readableEntries
        for index in census.stacks.indices.dropFirst(2) where index >= known && census.stacks[index].liveBlocks > 0 {
            // Blocks whose stack is lost or was never there are counted under the empty stack.
            note("live blocks that name a stack that was never written", at: place(of: .stacks, index))
            census.moveToEmptyStack(index)
        }

        let moment = PeakMoment(events: events, foldedBytes: foldedTotal, headerPeak: header.peak_bytes)
        if moment.isInRings {
            // The peak came after the last fold, so no stack has a copy of it.
            for index in census.stacks.indices { census.stacks[index].peak = census.stacks[index].held }
        }
        for (number, event) in moment.ordered.enumerated() {
            let index = Int(event.stack)
            guard index > 0, index < max(known, 2) else {
                note("an event that names a stack number out of range", at: place(of: .events, event.thread))
                continue
            }
            census.replayedEvents += 1
            if number < moment.count && (moment.isInRings || peakIsFolded[index]) {
                census.stacks[index].peak.apply(event)
            }
            census.stacks[index].apply(event)
            if event.isFree {
                let began = heap_tick_milliseconds(event.allocatedTick), ended = heap_tick_milliseconds(event.tick)
                census.replayedFrees.append(
                    (event.stack, ended > began ? ended - began : 0, event.counted.blocks))
            }
        }
        census.peak = Level(bytes: header.peak_bytes, blocks: header.peak_blocks)
        if moment.isInRings {
            census.peak = Level(bytes: moment.bytes, blocks: census.stacks.reduce(0) { $0 &+ $1.peak.blocks })
        }
    }
}

/// Finds which of the rings' events came before the process's peak.
///
/// The events of several threads are ordered by their ticks. The peak is where the sum of live bytes comes nearest to
/// the header's. A run shorter than its rings has its peak only there.
struct PeakMoment {
    var ordered: [Event]
    /// How many events came before the peak.
    var count = 0
    /// The most bytes live at once.
    var bytes: UInt64
    /// The peak is above the header's, so it is not folded yet.
    var isInRings = false

    init(events: [Event], foldedBytes: UInt64, headerPeak: UInt64) {
        ordered = events.sorted {
            ($0.tick, UInt64($0.thread), $0.number) < ($1.tick, UInt64($1.thread), $1.number)
        }
        bytes = headerPeak
        var total = Level(bytes: foldedBytes, blocks: .max / 2)
        var most = foldedBytes, mostCount = 0
        var nearest = foldedBytes > headerPeak ? foldedBytes - headerPeak : headerPeak - foldedBytes
        for (index, event) in ordered.enumerated() {
            total.apply(event)
            if total.bytes > most { (most, mostCount) = (total.bytes, index + 1) }
            let distance = total.bytes > headerPeak ? total.bytes - headerPeak : headerPeak - total.bytes
            if distance < nearest { (nearest, count) = (distance, index + 1) }
        }
        if most > headerPeak {
            isInRings = true
            bytes = most
            count = mostCount
        }
    }
}

extension Census {
    /// Adds a batch of live blocks. Stack numbers from `room` on are out of range.
    mutating func add(_ batch: Span<LiveBlock>, room: Int) {
        var next = addKnown(batch, from: 0)
        while next < batch.count {
            // The block's stack was made after the header was read. A number out of range counts as the empty stack.
            let block = batch[next]
            let stack = Int(block.stack)
            if stack < room {
                stacks.append(contentsOf: repeatElement(StackCounts(), count: stack + 1 - stacks.count))
                stacks[stack].addLive(block)
            } else {
                stacks[1].addLive(block)
                strayBlocks += 1
            }
            liveBytes &+= block.bytes
            next = addKnown(batch, from: next + 1)
        }
        liveBlocks &+= UInt64(batch.count)
        liveRecords &+= UInt64(batch.count)
    }

    /// The same of a sampled image, whose blocks are few and stand for many.
    mutating func addSampled(_ batch: Span<LiveBlock>, room: Int, _ weight: (UInt64) -> BlockWeight) {
        for index in batch.indices {
            let block = batch[index], counts = weight(block.bytes)
            var stack = Int(block.stack)
            if stack >= room {
                strayBlocks += 1
                stack = 1
            }
            if stack >= stacks.count {
                stacks.append(contentsOf: repeatElement(StackCounts(), count: stack + 1 - stacks.count))
            }
            stacks[stack].addLive(block, counts)
            liveBytes &+= counts.bytes
            liveBlocks &+= counts.units
            variance += counts.variance
        }
        liveRecords &+= UInt64(batch.count)
    }

    /// Adds blocks from `first` on, up to the first whose stack is not there, and returns that one's place. Each
    /// block's counts are elsewhere in memory, so the loop contains little but loads and stores.
    private mutating func addKnown(_ batch: Span<LiveBlock>, from first: Int) -> Int {
        var live = stacks.mutableSpan
        var next = first, bytes: UInt64 = 0
        while next < batch.count {
            let block = batch[unchecked: next]
            let stack = Int(block.stack)
            guard stack < live.count else { break }
            live[unchecked: stack].addLive(block)
            bytes &+= block.bytes
            next &+= 1
        }
        liveBytes &+= bytes
        return next
    }

    /// Moves the live blocks of an unknown stack to the empty stack.
    mutating func moveToEmptyStack(_ index: Int) {
        stacks[1].liveBytes &+= stacks[index].liveBytes
        stacks[1].liveBlocks &+= stacks[index].liveBlocks
        stacks[1].variance += stacks[index].variance
        stacks[1].oldestTick = min(stacks[1].oldestTick, stacks[index].oldestTick)
        stacks[1].newestTick = max(stacks[1].newestTick, stacks[index].newestTick)
        stacks[index] = StackCounts()
    }

    /// Adjusts each stack's counters so that allocated - freed equals its live blocks, and counts the adjustments.
    mutating func settle() {
        for index in stacks.indices.dropFirst() {
            let blocks = stacks[index].allocatedBlocks &- stacks[index].freedBlocks &- stacks[index].liveBlocks
            let bytes = stacks[index].allocatedBytes &- stacks[index].freedBytes &- stacks[index].liveBytes
            if blocks == 0 && bytes == 0 { continue }
            // More allocated than live: a free is missing; less: an allocation is.
            if Int64(bitPattern: blocks) > 0 || (blocks == 0 && Int64(bitPattern: bytes) > 0) {
                stacks[index].freedBlocks &+= blocks
                stacks[index].freedBytes &+= bytes
            } else {
                stacks[index].allocatedBlocks &-= blocks
                stacks[index].allocatedBytes &-= bytes
            }
            settledBlocks &+= max(1, Int64(bitPattern: blocks).magnitude)
        }
    }
}

extension StackCounts {
    @inline(__always)
    mutating func addLive(_ block: LiveBlock) {
        liveBytes &+= block.bytes
        liveBlocks &+= 1
        oldestTick = min(oldestTick, block.tick)
        newestTick = max(newestTick, block.tick)
    }

    mutating func addLive(_ block: LiveBlock, _ counts: BlockWeight) {
        liveBytes &+= counts.bytes
        liveBlocks &+= counts.units
        variance += counts.variance
        oldestTick = min(oldestTick, block.tick)
        newestTick = max(newestTick, block.tick)
    }

    /// What is live by the counters.
    package var held: Level {
        Level(
            bytes: allocatedBytes >= freedBytes ? allocatedBytes - freedBytes : 0,
            blocks: allocatedBlocks >= freedBlocks ? allocatedBlocks - freedBlocks : 0)
    }

    mutating func apply(_ event: Event) {
        let counted = event.counted
        if event.isFree {
            freedBlocks &+= counted.blocks
            freedBytes &+= counted.bytes
            if event.isTemporary { temporaryBlocks &+= counted.blocks }
        } else {
            allocatedBlocks &+= counted.blocks
            allocatedBytes &+= counted.bytes
        }
    }
}

extension Level {
    mutating func apply(_ event: Event) {
        let counted = event.counted
        if event.isFree {
            bytes = bytes >= counted.bytes ? bytes - counted.bytes : 0
            blocks = blocks >= counted.blocks ? blocks - counted.blocks : 0
        } else {
            bytes &+= counted.bytes
            blocks &+= counted.blocks
        }
    }
}
