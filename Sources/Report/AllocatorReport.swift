// Compares what the allocator has from the kernel with what the program has from the allocator, in `heapsum info`.
// Memory that grows without a leak is the difference. All numbers are from the moment at which resident memory was
// measured, from outside; hooks never ask the allocator.

import CHeapImage
import HeapImage
import Text

/// Writes how much of malloc's memory the program held; nothing if it was not measured.
package struct AllocatorReport {
    package var style: Style

    package init(style: Style) { self.style = style }

    /// A block's header, and the average rounding: glibc's chunks are 8 bytes larger than requested, in steps of 16.
    private static let overheadBytes: UInt64 = 16
    /// Every program has less than this free: the top of one arena.
    private static let leastBytes: UInt64 = 1 << 20

    package func write(_ image: HeapImage, _ census: Census, to out: TextOutput) throws {
        let residence = image.header.residence
        guard residence.measured_ns > 0, residence.allocator_kb > 0 else { return }
        let resident = UInt64(residence.allocator_kb) << 10
        let held = Self.held(image, census, at: residence.measured_ns)
        let overhead = min(held.blocks.multipliedReportingOverflow(by: Self.overheadBytes).partialValue, resident)
        func line(_ bytes: UInt64, _ text: String) throws {
            try out.write("  \(leftPadded(separated(bytes), 16))  \(text)\n")
        }

        try out.write(
            "\n" + style.bold("Allocator") + ", after \(shortDuration(Double(residence.measured_ns) / 1e9))\n")
        try line(resident, "resident: the part of malloc's memory that was touched")
        try line(held.bytes, "held by the program then, in \(counted(held.blocks, "block")), as it requested them")
        try line(overhead, "headers and rounding, about")
        guard resident > held.bytes &+ overhead else {
            if held.bytes > resident {
                try line(held.bytes - resident, "requested and never touched, or swapped out: takes no memory")
            }
            return
        }
        let free = resident - held.bytes - overhead
        let tenths = Int(Double(free) * 1000 / Double(resident))
        try line(free, "free, \(tenths / 10).\(tenths % 10)%: kept by malloc for later, or in gaps between blocks")
        guard free > held.bytes, free >= Self.leastBytes else { return }
        try out.write(
            "  " + style.warning("Retained or fragmented by the allocator, not leaked")
                + ": more of malloc's memory is free than held.\n"
                + "  malloc_trim(0) gives back whole free pages, \(separated(free)) bytes at the most; "
                + "MALLOC_ARENA_MAX=2 and\n"
                + "  MALLOC_TRIM_THRESHOLD_=131072 in the environment keep less. What it was for: heapsum --at peak "
                + "\(shellWord(image.file))\n"
        )
    }

    /// What was live at a time: what is live now if nothing happened since; else the nearest known moment.
    static func held(_ image: HeapImage, _ census: Census, at nanoseconds: UInt64) -> Level {
        // A dump has each thread's last events. A packed image has them folded, without times.
        if image.kind == .dump, nanoseconds > census.lastEventNanoseconds {
            return Level(bytes: census.liveBytes, blocks: census.liveBlocks)
        }
        func distance(_ time: UInt64) -> UInt64 { time > nanoseconds ? time - nanoseconds : nanoseconds - time }
        var best = (distance(census.momentNanoseconds), Level(bytes: census.liveBytes, blocks: census.liveBlocks))
        for sample in image.timeline() where distance(sample.nanoseconds) < best.0 {
            best = (distance(sample.nanoseconds), Level(bytes: sample.liveBytes, blocks: sample.liveBlocks))
        }
        return best.1
    }
}
