// The pages of live blocks that were in memory when the program ended, as a packed image stores them (`heaprun
// --resident`). A process that is gone has none to look up.

import CHeapImage

extension HeapImage {
    /// Whether there is a section PAGES: only in dense images that say so.
    package var hasPages: Bool { kind != .running && hasFlag(HEAP_FLAG_PAGES) }

    /// The bytes of its entries, which stand where other images have SLOTS; nil for another section.
    func pageEntryBytes(_ section: Int) -> Int? {
        hasPages && section == SectionName.slots.rawValue ? MemoryLayout<heap_run>.size : nil
    }

    /// The runs of pages, in order of address, that don't touch; nil if the image has none. From an entry that makes no
    /// sense on, the rest is noted as damage, and nothing is known.
    ///
    /// - Complexity: O(runs)
    package func storedPages() -> [Range<UInt64>]? {
        guard hasPages else { return nil }
        var runs: [Range<UInt64>] = [], isSound = true
        forEachEntry(of: .slots, as: heap_run.self) { index, run in
            guard isSound else { return }
            let (end, overflow) = run.start.addingReportingOverflow(run.bytes)
            guard !overflow, run.bytes > 0, run.start % 4096 == 0, run.bytes % 4096 == 0,
                run.start > runs.last?.upperBound ?? 0 || runs.isEmpty
            else {
                note("a run of pages that makes no sense", at: place(of: .slots, index))
                isSound = false
                return
            }
            runs.append(run.start ..< end)
        }
        let section = sections[SectionName.slots.rawValue]
        return isSound && UInt64(section.readableEntries) == section.used ? runs : nil
    }
}
