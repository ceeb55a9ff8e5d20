// The recorded processes of this machine, and what each holds, found through the images that they map. The processes
// themselves are not involved.

import Glibc
import HeapImage
import Launch
import Proc
import Screen
import SystemPackage
import Text

/// A process that is recorded.
package struct RecordedProcess: Sendable {
    package var processID: pid_t
    package var program: String
    package var liveBytes: UInt64
    package var liveBlocks: UInt64
    package var residentBytes: UInt64?
    /// Bytes per hour over the last quarter of the recording, from the image's timeline; nil if that is under a minute.
    package var growthPerHour: Double?
    /// The memory or disk space that the image uses.
    package var imageBytes: UInt64
    package var recordedSeconds: Double
}

/// All recorded processes that can be read, the largest first, and the number of processes that could not be examined.
///
/// - Complexity: reads one file of each process, and the stacks' counters of the recorded ones.
package func recordedProcesses() -> (processes: [RecordedProcess], closed: Int) {
    var found: [RecordedProcess] = []
    let closed = forEachRecording { pid, _, image in
        if let counts = try? image.counters() { found.append(describe(pid, image, counts)) }
    }
    return (found.sorted { ($0.liveBytes, $1.processID) > ($1.liveBytes, $0.processID) }, closed)
}

private func describe(_ pid: pid_t, _ image: HeapImage, _ counts: Census) -> RecordedProcess {
    let now = clockNanoseconds(CLOCK_MONOTONIC), began = image.header.started_monotonic_ns
    let seconds = now > began ? Double(now - began) / 1e9 : 0
    var bytes: UInt64 = 0, blocks: UInt64 = 0
    for stack in counts.stacks {
        bytes &+= stack.held.bytes
        blocks &+= stack.held.blocks
    }
    var growth: Double?
    let from = UInt64(seconds * 0.75 * 1e9)
    if let past = image.timeline().last(where: { $0.nanoseconds <= from }) ?? image.timeline().first {
        let span = seconds - Double(past.nanoseconds) / 1e9
        if span >= 60 { growth = (Double(bytes) - Double(past.liveBytes)) / span * 3600 }
    }
    return RecordedProcess(
        processID: pid, program: image.programName, liveBytes: bytes, liveBlocks: blocks,
        residentBytes: residentBytes(of: pid), growthPerHour: growth, imageBytes: image.source.storedBytes,
        recordedSeconds: seconds)
}

/// The list as text: a heading, then a line for each process.
package func listing(_ processes: [RecordedProcess], closed: Int) -> [ScreenLine] {
    var lines: [ScreenLine] = []
    if !processes.isEmpty {
        lines.append(
            ScreenLine("    PID       LIVE    BLOCKS   RESIDENT     AN HOUR  RECORDED      IMAGE  PROGRAM", .dim))
    }
    for process in processes {
        var line = ScreenLine(leftPadded("\(process.processID)", 7))
        line.append(leftPadded(shortSize(Double(process.liveBytes)), 11), .bold)
        line.append(leftPadded(shortCount(Double(process.liveBlocks)), 10))
        line.append(leftPadded(process.residentBytes.map { shortSize(Double($0)) } ?? "-", 11))
        let growth = process.growthPerHour.map { Int64(max(-9e15, min(9e15, $0))) }
        line.append(leftPadded(growth.map(signedSize) ?? "-", 12), (growth ?? 0) > 0 ? .warning : .plain)
        line.append(leftPadded(shortDuration(process.recordedSeconds), 10))
        line.append(leftPadded(shortSize(Double(process.imageBytes)), 11) + "  " + printable(process.program))
        lines.append(line)
    }
    if processes.isEmpty { lines.append(ScreenLine("no process here is recorded: start one by heaprun")) }
    if closed > 0 {
        lines.append(
            ScreenLine(
                "\(counted(UInt64(closed), "process")) of other users could not be examined: run as root", .dim)
        )
    }
    return lines
}
