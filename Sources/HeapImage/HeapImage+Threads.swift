// Threads, their rings, and what was in flight.
//
// A ring holds the events that are not in the counters yet: [folded, head) did happen. Up to two events at and after
// the head may have happened; their block's slot decides.

import CHeapImage

/// One event of a ring, decoded.
package struct Event: Equatable {
    package var thread: Int
    package var number: UInt64
    package var address: UInt64
    package var bytes: UInt64
    package var stack: UInt32
    /// When the block was allocated.
    package var allocatedTick: UInt32
    /// When the event happened.
    package var tick: UInt32
    /// True: a free; false: an allocation.
    package var isFree: Bool
    package var isTemporary: Bool
    package var isReallocation: Bool
    /// The image's: what the block counts for follows from it.
    package var sampleInterval: UInt64 = 0

    /// What the counters have of the block.
    var counted: Level {
        Level(
            bytes: heap_counted_bytes(bytes, sampleInterval), blocks: heap_counted_blocks(bytes, sampleInterval))
    }
}

/// A reallocation that was not finished.
package struct InFlight: Equatable {
    package var thread: Int
    package var old: LiveBlock
    package var new: LiveBlock
    /// False: the old block counts. True: the new one counts.
    package var returned: Bool

    /// The block that counts. nil if none does, because `realloc(p, 0)` freed the old one or the new one found no space
    /// in the image: then the new slot is empty.
    package var block: LiveBlock? {
        let block = returned ? new : old
        return block.stack != 0 ? block : nil
    }
}

/// One thread's record, or its last owner's.
package struct ThreadRecord {
    package var threadID: UInt32
    package var head: UInt64
    package var folded: UInt64
    package var startedNanoseconds: UInt64
    package var foldedMilliseconds: UInt64
    package var inFlight: InFlight?
    /// Events [folded, head) that the ring still holds.
    package var unfolded: [Event] = []
    /// Entries at the head and after it with the right sequence numbers.
    package var uncommitted: [Event] = []
}

extension heap_event {
    func taken(thread: Int, number: UInt64, sampleInterval: UInt64) -> Event? {
        guard heap_event_sequence(tag) == UInt32(truncatingIfNeeded: number) else { return nil }
        let kind = heap_event_kind(tag)
        guard kind == HEAP_EVENT_ALLOCATED.rawValue || kind == HEAP_EVENT_FREED.rawValue else { return nil }
        let flags = heap_event_flags(tag)
        return Event(
            thread: thread, number: number, address: address, bytes: bytes, stack: heap_slot_stack(slot),
            allocatedTick: heap_slot_tick(slot), tick: heap_event_tick(tag),
            isFree: kind == HEAP_EVENT_FREED.rawValue,
            isTemporary: flags & UInt32(HEAP_EVENT_FLAG_TEMPORARY) != 0,
            isReallocation: flags & UInt32(HEAP_EVENT_FLAG_REALLOC) != 0, sampleInterval: sampleInterval)
    }
}

extension HeapImage {
    /// All threads, with the events of their rings that are not in the counters.
    ///
    /// - Complexity: O(threads); reads a ring of one page for each.
    package func threads() -> [ThreadRecord] {
        var records: [ThreadRecord] = []
        forEachEntry(of: .threads, as: heap_thread.self) { index, thread in
            var record = ThreadRecord(
                threadID: thread.tid, head: thread.head, folded: thread.folded,
                startedNanoseconds: thread.started_ns, foldedMilliseconds: thread.folded_ms)
            record.inFlight = inFlight(thread, index)
            records.append(record)
        }
        forEachChunk(of: .events) { bytes, firstEntry in
            let size = MemoryLayout<heap_ring>.size
            for entry in 0 ..< bytes.byteCount / size {
                let index = firstEntry + entry
                guard index < records.count else { return false }
                let ring = bytes.extracting(entry * size ..< (entry + 1) * size)
                replay(ring, into: &records[index], thread: index)
            }
            return true
        }
        return records
    }

    /// The reallocations in flight alone, without the rings.
    ///
    /// - Complexity: O(threads), 256 bytes each.
    package func inFlights() -> [InFlight] {
        var found: [InFlight] = []
        forEachEntry(of: .threads, as: heap_thread.self) { index, thread in
            if let flight = inFlight(thread, index) { found.append(flight) }
        }
        return found
    }

    private func inFlight(_ thread: heap_thread, _ index: Int) -> InFlight? {
        let flight = thread.in_flight
        if flight.phase == HEAP_IN_FLIGHT_CLAIMED.rawValue || flight.phase == HEAP_IN_FLIGHT_RETURNED.rawValue {
            return InFlight(
                thread: index,
                old: LiveBlock(address: flight.old_address, slot: flight.old_slot, bytes: flight.old_bytes),
                new: LiveBlock(address: flight.new_address, slot: flight.new_slot, bytes: flight.new_bytes),
                returned: flight.phase == HEAP_IN_FLIGHT_RETURNED.rawValue)
        }
        if flight.phase != HEAP_IN_FLIGHT_NONE.rawValue {
            note("a reallocation in flight is in an unknown phase", at: place(of: .threads, index))
        }
        return nil
    }

    private func replay(_ ring: RawSpan, into record: inout ThreadRecord, thread: Int) {
        func event(_ number: UInt64) -> Event? {
            let index = Int(truncatingIfNeeded: number % UInt64(HEAP_RING_EVENTS))
            return ring.unsafeLoadUnaligned(fromByteOffset: index * MemoryLayout<heap_event>.size, as: heap_event.self)
                .taken(thread: thread, number: number, sampleInterval: sampleInterval)
        }
        let pending = record.head &- record.folded
        if pending > 0 && pending <= UInt64(HEAP_RING_EVENTS) {
            for step in 0 ..< pending {
                if let event = event(record.folded &+ step) {
                    record.unfolded.append(event)
                } else if kind != .running || presence == .gone {
                    // In a running program, the ring may just have gone on.
                    note("a ring lacks an event that its head counts", at: place(of: .events, thread))
                }
            }
        } else if pending != 0 {
            note("a ring's head and its folded events contradict each other", at: place(of: .threads, thread))
        }
        // In a settled image, uncommitted entries are decided and removed. An older entry has another sequence number.
        for step in 0 ..< UInt64(2) {
            guard let event = event(record.head &+ step) else { break }
            record.uncommitted.append(event)
        }
    }
}
