// The frees by which glibc may have raised M_MMAP_THRESHOLD: of blocks with mappings of their own. Each thread's record
// has the largest that it freed.

import CHeapImage

/// A block of glibc with a mapping of its own that was freed.
package struct FreedMapped: Equatable, Sendable {
    /// With malloc's header, as malloc counts it: a multiple of 16.
    package var chunkBytes: UInt64
    /// The stack that allocated it.
    package var stack: UInt32
    /// Milliseconds since the recording's start.
    package var allocatedMilliseconds: UInt64
    package var freedMilliseconds: UInt64

    package init(chunkBytes: UInt64, stack: UInt32, allocatedMilliseconds: UInt64, freedMilliseconds: UInt64) {
        (self.chunkBytes, self.stack) = (chunkBytes, stack)
        (self.allocatedMilliseconds, self.freedMilliseconds) = (allocatedMilliseconds, freedMilliseconds)
    }
}

extension HeapImage {
    /// The largest of each thread, the largest first, and of equal ones the first that was freed. Entries that make no
    /// sense, or are being changed, are left out.
    ///
    /// - Complexity: O(threads), 256 bytes each.
    package func freedMapped() -> [FreedMapped] {
        let stacks = sections[SectionName.stacks.rawValue].readableEntries
        var found: [FreedMapped] = []
        forEachEntry(of: .threads, as: heap_thread.self) { _, thread in
            let units = heap_mapped_units(thread.mapped_word), stack = heap_slot_stack(thread.mapped_word)
            guard units > 0, heap_mapped_units(thread.mapped_times) == units, stack > 0, Int(stack) < stacks else {
                return
            }
            found.append(
                FreedMapped(
                    chunkBytes: units * UInt64(HEAP_MAPPED_UNIT), stack: stack,
                    allocatedMilliseconds: heap_tick_milliseconds(heap_mapped_allocated(thread.mapped_times)),
                    freedMilliseconds: heap_tick_milliseconds(heap_mapped_freed(thread.mapped_times))))
        }
        return found.sorted {
            ($1.chunkBytes, $0.freedMilliseconds, $0.stack) < ($0.chunkBytes, $1.freedMilliseconds, $1.stack)
        }
    }
}
