// Where the recorder's own memory is in the program, from a running image. The search for the program's pointers leaves
// it out.

import CHeapImage

extension HeapImage {
    /// The address ranges of the recorder's work space in the program.
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

    /// An address on the stack of each thread that made an event, as far as known.
    package func stackAddresses() -> [UInt64] {
        var addresses: [UInt64] = []
        forEachEntry(of: .threads, as: heap_thread.self) { _, thread in
            if thread.stack_address > 0 { addresses.append(thread.stack_address) }
        }
        return addresses
    }
}
