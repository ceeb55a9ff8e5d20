// Where the recorder's own memory lies in the program, as a running image tells it: for whoever looks for the program's
// pointers.

import CHeapImage

extension HeapImage {
    /// Ranges of the program's addresses that are the recorder's work space.
    package func scratchRanges() -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        forEachEntry(of: .threads, as: heap_thread.self) { _, thread in
            let (end, overflow) = thread.scratch_start.addingReportingOverflow(thread.scratch_bytes)
            if !overflow && thread.scratch_bytes > 0 && thread.scratch_start > 0 {
                ranges.append(thread.scratch_start ..< end)
            }
        }
        return ranges.sorted { $0.lowerBound < $1.lowerBound }
    }
}
