// Rings and reallocations in flight: a program killed at any point is counted as it was.

import CHeapImage
import HeapImage
import TestSupport
import Testing
import Text

@Suite struct Replay {
    /// One stack, one thread, one live block of 100 bytes at 0x1000 that is folded.
    private func start(_ kind: heap_kind) -> (ImageBuilder, stack: UInt32, thread: Int) {
        var builder = ImageBuilder(kind: kind)
        let stack = builder.addStack([heap_frame_make(0, 0x10)])
        builder.addBlock(address: 0x1000, bytes: 100, stack: stack)
        let thread = builder.addThread(tid: 1)
        return (builder, stack, thread)
    }

    @Test(arguments: [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_PACKED.rawValue])
    func unfoldedEventsCount(kind: UInt32) throws {
        var (builder, stack, thread) = start(heap_kind(rawValue: kind))
        // The ring has gone round: events 1000 … 1003, of which 1000 is folded already.
        for number in UInt64(1000) ..< 1003 {
            let address = 0x2000 + (number - 1000) * 0x100
            builder.addBlock(address: address, bytes: 40, stack: stack, counted: number == 1000)
            builder.putEvent(
                thread: thread, number: number, kind: HEAP_EVENT_ALLOCATED, address: address,
                slot: builder.slot(address: address, bytes: 40, stack: stack), bytes: 40)
        }
        builder.count(stack, allocated: 1, bytes: 9)
        builder.putEvent(
            thread: thread, number: 1003, kind: HEAP_EVENT_FREED, address: 0x9000,
            slot: heap_slot_make(stack, 0, 0), bytes: 9, flags: HEAP_EVENT_FLAG_TEMPORARY)
        builder.threads[thread].folded = 1001
        let census = try open(builder).census()
        let counts = census.stacks[Int(stack)]
        #expect(census.replayedEvents == 3)
        #expect(counts.allocatedBlocks == 5)
        #expect(counts.allocatedBytes == 100 + 3 * 40 + 9)
        #expect(counts.freedBlocks == 1)
        #expect(counts.temporaryBlocks == 1)
        #expect(counts.liveBlocks == 4)
        #expect(census.settledBlocks == 0)
    }

    /// Of a program that is gone: the last fold, in milliseconds, or the last event, by its tick, which is another
    /// measure above half a minute.
    @Test(arguments: [12_000, 182_000, 86_400_000]) func theMomentIsThatOfTheLastThingDone(milliseconds: UInt64) throws
    {
        var (builder, stack, thread) = start(HEAP_KIND_RUNNING)
        builder.threads[thread].folded_ms = milliseconds
        #expect(try open(builder).census().momentNanoseconds == milliseconds * 1_000_000)
        let tick = heap_tick_of_milliseconds(milliseconds * 2)
        builder.addBlock(address: 0x3000, bytes: 40, stack: stack, tick: tick)
        #expect(try open(builder).census().momentNanoseconds == heap_tick_milliseconds(tick) * 1_000_000)
    }

    @Test(arguments: [true, false], [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue])
    func anUncommittedAllocationHappenedWhereItsSlotSaysSo(published: Bool, kind: UInt32) throws {
        var (builder, stack, thread) = start(heap_kind(rawValue: kind))
        let slot = builder.slot(address: 0x2000, bytes: 40, stack: stack, tick: 3)
        builder.putEvent(
            thread: thread, number: 0, kind: HEAP_EVENT_ALLOCATED, address: 0x2000, slot: slot, bytes: 40,
            tick: 3, commit: false)
        if published { builder.addBlock(address: 0x2000, bytes: 40, stack: stack, tick: 3, counted: false) }
        let census = try open(builder).census()
        #expect(census.stacks[Int(stack)].allocatedBlocks == (published ? 2 : 1))
        #expect(census.stacks[Int(stack)].liveBlocks == (published ? 2 : 1))
        #expect(census.settledBlocks == 0)
    }

    @Test(arguments: [true, false], [HEAP_KIND_RUNNING.rawValue, HEAP_KIND_DUMP.rawValue])
    func anUncommittedFreeHappenedWhereItsSlotIsEmpty(emptied: Bool, kind: UInt32) throws {
        var builder = ImageBuilder(kind: heap_kind(rawValue: kind))
        let stack = builder.addStack([heap_frame_make(0, 0x10)])
        let thread = builder.addThread(tid: 1)
        if emptied {
            builder.count(stack, allocated: 1, bytes: 100)
        } else {
            builder.addBlock(address: 0x1000, bytes: 100, stack: stack)
        }
        builder.putEvent(
            thread: thread, number: 0, kind: HEAP_EVENT_FREED, address: 0x1000,
            slot: builder.slot(address: 0x1000, bytes: 100, stack: stack), bytes: 100, commit: false)
        let census = try open(builder).census()
        #expect(census.stacks[Int(stack)].freedBlocks == (emptied ? 1 : 0))
        #expect(census.stacks[Int(stack)].liveBlocks == (emptied ? 0 : 1))
        #expect(census.settledBlocks == 0)
    }

    /// Where a kill cuts a reallocation: after each of the recorder's stores.
    enum Cut: CaseIterable { case recorded, claimed, returned, published, unmarked, finished }

    @Test(arguments: Cut.allCases, [false, true])
    func aReallocationInFlightIsOneBlock(cut: Cut, inPlace: Bool) throws {
        var builder = ImageBuilder(kind: HEAP_KIND_RUNNING)
        let oldStack = builder.addStack([1]), newStack = builder.addStack([2])
        let thread = builder.addThread(tid: 1)
        let old: UInt64 = 0x1000, new: UInt64 = inPlace ? 0x1000 : 0x7000
        let oldSlot = builder.slot(address: old, bytes: 100, stack: oldStack, tick: 1)
        let newSlot = builder.slot(address: new, bytes: 120, stack: newStack, tick: 2)
        builder.count(oldStack, allocated: 1, bytes: 100)
        builder.addBlock(address: 0x9000, bytes: 8, stack: oldStack)

        let step = Cut.allCases.firstIndex(of: cut) ?? 0
        var flight = heap_in_flight()
        flight.phase = step >= 2 ? 2 : 1
        flight.old_address = old
        flight.old_slot = oldSlot
        flight.old_bytes = 100
        if step >= 2 {
            flight.new_address = new
            flight.new_slot = newSlot
            flight.new_bytes = 120
        }
        builder.threads[thread].in_flight = cut == .finished ? heap_in_flight() : flight
        if step == 0 { builder.putSlot(address: old, bytes: 100, word: oldSlot) }
        if step >= 1 && step < 4 { builder.putSlot(address: old, bytes: 100, word: heap_slot_claim(UInt32(thread))) }
        if step >= 3 { builder.putSlot(address: new, bytes: 120, word: newSlot) }
        if step >= 4 && !inPlace { builder.putSlot(address: old, bytes: 100, word: 0) }
        if step >= 2 {
            builder.putEvent(
                thread: thread, number: 0, kind: HEAP_EVENT_FREED, address: old, slot: oldSlot, bytes: 100,
                tick: 2, flags: HEAP_EVENT_FLAG_REALLOC, commit: false)
            builder.putEvent(
                thread: thread, number: 1, kind: HEAP_EVENT_ALLOCATED, address: new, slot: newSlot, bytes: 120,
                tick: 2, flags: HEAP_EVENT_FLAG_REALLOC, commit: false)
        }
        let image = try open(builder)
        let expected =
            step >= 2
            ? LiveBlock(address: new, bytes: 120, stack: newStack, tick: 2)
            : LiveBlock(address: old, bytes: 100, stack: oldStack, tick: 1)
        #expect(allBlocks(image) == [expected, LiveBlock(address: 0x9000, bytes: 8, stack: oldStack, tick: 0)])
        let census = try image.census()
        #expect(census.liveBlocks == 2)
        #expect(census.settledBlocks == 0, "the rings tell it all")
        #expect(census.stacks[Int(oldStack)].freedBlocks == (step >= 2 ? 1 : 0))
        #expect(census.stacks[Int(newStack)].allocatedBlocks == (step >= 2 ? 1 : 0))
    }

    /// `realloc(p, 0)`, or a new block that found no space in the image: once it returned, nothing of it counts.
    @Test(arguments: [Cut.returned, .unmarked])
    func aReallocationThatLeftNoBlockCountsNothing(cut: Cut) throws {
        var (builder, stack, thread) = start(HEAP_KIND_RUNNING)
        let slot = builder.slot(address: 0x2000, bytes: 60, stack: stack)
        builder.count(stack, allocated: 1, bytes: 60)
        builder.putSlot(address: 0x2000, bytes: 60, word: cut == .returned ? heap_slot_claim(UInt32(thread)) : 0)
        builder.threads[thread].in_flight = heap_in_flight(
            phase: UInt64(HEAP_IN_FLIGHT_RETURNED.rawValue), old_address: 0x2000, old_slot: slot, old_bytes: 60,
            new_address: 0x7000, new_slot: 0, new_bytes: 80, reserved: 0)
        builder.putEvent(
            thread: thread, number: 0, kind: HEAP_EVENT_FREED, address: 0x2000, slot: slot, bytes: 60,
            flags: HEAP_EVENT_FLAG_REALLOC, commit: false)
        let image = try open(builder)
        #expect(allBlocks(image) == [LiveBlock(address: 0x1000, bytes: 100, stack: stack, tick: 0)])
        let census = try image.census()
        #expect(census.liveBlocks == 1 && census.liveBytes == 100)
        #expect(census.stacks[Int(stack)].liveBlocks == 1 && census.stacks[Int(stack)].freedBlocks == 1)
        #expect(census.settledBlocks == 0 && image.damages.isEmpty)
        let directory = try Scratch()
        let packed = try image.pack(to: directory.file("packed.heap"))
        #expect(packed.liveBlocks == 1)
        #expect(allBlocks(try HeapImage(path: packed.path)).count == 1)
    }

    @Test func inFlightRecordsOfASettledImageArePassedOver() throws {
        var (builder, stack, thread) = start(HEAP_KIND_DUMP)
        builder.threads[thread].in_flight.phase = 1
        builder.threads[thread].in_flight.old_address = 0x5000
        builder.threads[thread].in_flight.old_slot = heap_slot_make(stack, 0, 0)
        builder.threads[thread].in_flight.old_bytes = 1
        #expect(allBlocks(try open(builder)).count == 2)
        builder.header.flags = HEAP_FLAG_IN_FLIGHT_SETTLED.rawValue
        #expect(allBlocks(try open(builder)).count == 1)
    }

    @Test func aHalfFoldedEventIsSettled() throws {
        var (builder, stack, _) = start(HEAP_KIND_PACKED)
        let other = builder.addStack([heap_frame_make(0, 0x20)])
        builder.addBlock(address: 0x2000, bytes: 30, stack: other, counted: false)
        builder.count(stack, allocated: 1, bytes: 64)
        let census = try open(builder).census()
        #expect(census.settledBlocks == 2)
        for index in [stack, other].map(Int.init) {
            let counts = census.stacks[index]
            #expect(counts.allocatedBlocks - counts.freedBlocks == counts.liveBlocks)
            #expect(counts.allocatedBytes - counts.freedBytes == counts.liveBytes)
        }
    }

    @Test func aRunShorterThanItsRingHasItsPeakThere() throws {
        var builder = ImageBuilder(kind: HEAP_KIND_RUNNING)
        let stack = builder.addStack([1]), other = builder.addStack([2])
        let thread = builder.addThread(tid: 1)
        builder.addBlock(address: 0x1000, bytes: 10, stack: stack, counted: false)
        let events: [(heap_event_kind, UInt64, UInt64, UInt32)] = [
            (HEAP_EVENT_ALLOCATED, 0x1000, 10, stack), (HEAP_EVENT_ALLOCATED, 0x2000, 500, other),
            (HEAP_EVENT_FREED, 0x2000, 500, other), (HEAP_EVENT_ALLOCATED, 0x3000, 100, stack),
            (HEAP_EVENT_FREED, 0x3000, 100, stack),
        ]
        for (number, event) in events.enumerated() {
            builder.putEvent(
                thread: thread, number: UInt64(number), kind: event.0, address: event.1,
                slot: builder.slot(address: event.1, bytes: event.2, stack: event.3), bytes: event.2)
        }
        let census = try open(builder).census()
        #expect(census.peak == Level(bytes: 510, blocks: 2))
        #expect(census.stacks[Int(stack)].peak == Level(bytes: 10, blocks: 1))
        #expect(census.stacks[Int(other)].peak == Level(bytes: 500, blocks: 1))
    }
}
