// The heap of a running program, read repeatedly. Each look reads the stacks' counters and the rings from the image. It
// does not read the live blocks, stop the program or send a signal.
//
// Invariant: the totals are the sums over the stacks of the same look. A stack keeps its number, so any two looks can
// be compared stack by stack.

import Glibc
import HeapImage
import Launch
import Proc
import Reduce
import Report
import Symbols
import SystemPackage
import Text

/// A program's heap by its stacks, renewed by `look()`.
package final class LiveHeap {
    /// What one stack holds now, and has allocated in all.
    package struct Counts: Equatable, Sendable {
        package var bytes: UInt64 = 0
        package var blocks: UInt64 = 0
        package var allocatedBytes: UInt64 = 0
        package var allocatedBlocks: UInt64 = 0

        package init() {}

        package static func += (sum: inout Counts, other: Counts) {
            sum.bytes &+= other.bytes
            sum.blocks &+= other.blocks
            sum.allocatedBytes &+= other.allocatedBytes
            sum.allocatedBlocks &+= other.allocatedBlocks
        }
    }

    package let image: HeapImage
    /// The process that writes the image; nil if none is known.
    package let processID: pid_t?
    /// Which of a file and a process was taken, if both have this name.
    package let note: String?
    package let reduction = Reduction()
    package let names: FrameNames
    /// Indexed by the stack's number in the image; 0 is no stack, 1 the empty stack.
    package private(set) var stacks: [Counts] = []
    /// The node in `reduction` of each stack.
    package private(set) var nodes: [UInt32] = []
    package private(set) var totals = Counts()
    package private(set) var peakBytes: UInt64 = 0
    /// The process's resident size, from the kernel; nil if the process has ended.
    package private(set) var residentBytes: UInt64?
    package private(set) var isRunning = true
    private var interned: [UInt32] = []
    private var mostBytes: UInt64 = 0

    /// Opens the image of a process that is recorded, or an image.
    ///
    /// - Throws: `InputError` for a file that is no image; `LaunchError` for a process that is not recorded.
    package init(_ program: String, symbolizer: Symbolizer) throws {
        let named = NamedProgram(program)
        note = named.note
        image = try named.image()
        processID = named.processID ?? NamedProgram.process(of: image)
        names = FrameNames(reduction, symbolizer: symbolizer)
        // Names of JIT-compiled code are found through the process.
        var input = Input(path: image.file, kind: "image")
        input.processID = processID.map { UInt32(bitPattern: $0) } ?? image.header.pid
        input.image = image
        _ = reduction.begin(input)
    }

    /// Reads what the program holds now. After its end, the last state stays.
    ///
    /// - Throws: `InputError` if the image can't be read any more.
    /// - Complexity: O(stacks), plus O(nodes) if there are new ones
    package func look() throws(InputError) {
        isRunning = image.kind == .running && processID.map(isThere) ?? false
        let census = try image.counters()
        if image.state != .running { isRunning = false }
        if census.stacks.contains(where: { Int($0.node) >= interned.count }) || interned.isEmpty {
            reduction.intern(nodesOf: image, into: &interned)
        }
        totals = Counts()
        stacks.reserveCapacity(census.stacks.count)
        for (number, counted) in census.stacks.enumerated() {
            var counts = Counts()
            let held = counted.held
            (counts.bytes, counts.blocks) = (held.bytes, held.blocks)
            (counts.allocatedBytes, counts.allocatedBlocks) = (counted.allocatedBytes, counted.allocatedBlocks)
            if number < stacks.count {
                stacks[number] = counts
            } else {
                stacks.append(counts)
                nodes.append(0)
            }
            nodes[number] = Int(counted.node) < interned.count ? interned[Int(counted.node)] : 0
            totals += counts
        }
        // The header's peak is updated when a ring is folded; a newer peak may still be in the rings.
        mostBytes = max(mostBytes, totals.bytes)
        peakBytes = max(census.peak.bytes, mostBytes)
        residentBytes = isRunning ? processID.flatMap { Launch.residentBytes(of: $0) } : nil
    }

    private func isThere(_ pid: pid_t) -> Bool {
        Presence.isRunning(pid, since: image.header.start_time)
    }

    /// How the program ended, as far as the image knows.
    package var endText: String { image.state == .running ? "has ended" : image.stateText(inFull: true) }

    /// Seconds since recording began.
    package var upSeconds: Double {
        let now = clockNanoseconds(CLOCK_MONOTONIC), began = image.header.started_monotonic_ns
        return now > began ? Double(now - began) / 1e9 : 0
    }
}
