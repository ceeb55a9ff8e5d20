// The snapshot of a process that its tracer holds at its end. The memory is read in place, because it can't change.

import CHeapImage
import CLeaks
import Glibc
import HeapImage
import Proc
import Text

/// How a process ends.
package enum EndingKind: Sendable {
    /// By exit, _exit, main's return or an exec: no frame of the calling thread will ever run again.
    case done
    /// By a signal: its threads were running.
    case killed
}

extension Snapshot {
    /// Takes the state of a process whose threads are stopped.
    ///
    /// - Parameters:
    ///   - held: its threads; the calling thread traces them, and they are stopped.
    ///   - ending: the thread that ends the process.
    ///   - image: the process's running image.
    /// - Throws: `LeaksError` if it can't be read.
    package static func take(
        ofStopped processID: pid_t, held: [pid_t], ending: pid_t, kind: EndingKind, missing: [pid_t], image: HeapImage
    ) throws -> Snapshot {
        try refuse(image)
        var shortfalls: [Shortfall] = []
        let map = LiveMapCopy(image)
        try map.take()
        let inFlight = image.inFlights()
        if inFlight.contains(where: { !$0.returned }) {
            shortfalls.append(
                Shortfall(what: "a block that was being reallocated: it may be at neither of its addresses"))
        }
        var stop: OpaquePointer?
        let taken = leaks_held(processID, held, held.count, &stop)
        guard taken == 0, let stop else { throw refusal(processID, Errno: -taken) }
        defer { leaks_forget(stop) }
        // The main thread may have ended, and then has no memory.
        guard let maps = procFile("/proc/\(ending)/maps") else {
            throw LeaksError("\(processID): its mappings can't be read")
        }
        let mappings = parseMaps(maps), memory = LiveMemory(pid: ending)
        var states = threadStates(stop, &shortfalls)
        if kind == .done {
            for index in states.indices where states[index].threadID == ending { states[index].hasDeadFrames = true }
        }
        for thread in missing {
            shortfalls.append(Shortfall(what: "the registers and the stack of thread \(thread), which did not stop"))
        }
        let isGlibc = image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
        var notes: [String] = []
        shortfalls += imageShortfalls(image, isGlibc: isGlibc, &notes)
        let moving = inFlight.compactMap(\.block)
        let table = BlockTable(granule: isGlibc ? 16 : 8, keepsTicks: true) {
            map.forEachBlock(inFlight: moving, $0)
        }
        shortfalls += unreadTimers(of: processID)
        let kernelWords = Set(readKernelWords(of: processID)).sorted { ($0.place, $0.value) < ($1.place, $1.value) }
        return Snapshot(
            processID: processID, threads: states, mappings: mappings, memory: memory, blocks: table,
            kernelWords: kernelWords, scratch: image.scratchRanges(), imageInodes: imageInodes(of: image, mappings),
            isGlibc: isGlibc, allocator: image.allocator, shortfalls: shortfalls, notes: notes, pauseNanoseconds: 0,
            copiedBytes: 0, stop: nil, clone: 0, code: leaks_code(), hasUnbooked: unbooked(image) != nil)
    }
}
