// Takes the snapshot of a running process: what is read before, during and after the stop.

import CHeapImage
import CLeaks
import Glibc
import HeapImage
import Proc
import SystemPackage
import Text

/// How a running program is read.
package struct SnapshotOptions {
    /// If the program can't be cloned, read the stopped program itself. It then stays stopped for the whole scan.
    package var mayReadInPlace = true
    /// Keep the tick of each block's allocation: 4 bytes a block.
    package var keepsTicks = false
    package init() {}
}

extension Snapshot {
    /// Stops a recorded process for some milliseconds, and takes its state.
    ///
    /// - Parameter image: the process's running image.
    /// - Throws: `LeaksError` with the reason and the way out if it may not be traced.
    /// - Complexity: O(resident pages) of kernel time in the pause, O(live blocks).
    package static func take(
        of processID: pid_t, image: HeapImage, options: SnapshotOptions = SnapshotOptions()
    ) throws -> Snapshot {
        let thread = Presence.livingThread(of: UInt32(bitPattern: processID)).map { pid_t(bitPattern: $0) } ?? processID
        try refuse(image)
        try refuse(processID)
        let wiped = procFile("/proc/\(thread)/smaps").map(wipedOnFork) ?? []
        var kernelWords = Set(readKernelWords(of: processID))
        var tries = 0
        let heldSignals = HeldSignals()
        while true {
            tries += 1
            let began = try takeOnce(
                of: processID, thread: thread, image: image, wiped: wiped, options: options, isLastTry: tries == 5)
            guard let snapshot = began else {
                usleep(2000)
                continue
            }
            snapshot.heldSignals = heldSignals
            if isWalkable(image) { snapshot.addEarlierBlocks() }
            // A registration made since the stop is of no block of the snapshot. One removed since was read before.
            kernelWords.formUnion(readKernelWords(of: processID))
            kernelWords.formUnion(snapshot.kernelWords)
            snapshot.kernelWords = kernelWords.sorted { ($0.place, $0.value) < ($1.place, $1.value) }
            snapshot.shortfalls += unreadTimers(of: processID)
            return snapshot
        }
    }

    /// Nil: a thread was in a reallocation, and the block was at neither of its two addresses.
    private static func takeOnce(
        of processID: pid_t, thread: pid_t, image: HeapImage, wiped: Set<UInt64>, options: SnapshotOptions,
        isLastTry: Bool
    ) throws -> Snapshot? {
        var shortfalls: [Shortfall] = [], notes: [String] = []
        try image.refresh()
        let map = LiveMapCopy(image)
        map.prepare()
        let obstacle = obstacleToClone(processID)
        var code = obstacle != nil ? leaks_code() : callCode(of: thread)
        var pending: PendingData? = PendingData(of: processID)
        notes += pending?.notes ?? []
        var stop: OpaquePointer?
        let stopped = leaks_stop_all(processID, &stop)
        guard stopped == 0, let stop else { throw refusal(processID, Errno: -stopped) }
        var isHeld = true
        defer { if isHeld { _ = leaks_go_on(stop) } }

        guard let maps = procFile("/proc/\(thread)/maps") else {
            throw LeaksError("\(processID): its mappings can't be read")
        }
        let mappings = parseMaps(maps)
        let live = LiveMemory(pid: thread)
        var cloning: CInt = -ENOSYS
        if let obstacle {
            notes.append(obstacle)
        } else if code.system_call != 0 {
            cloning = leaks_clone_begin(stop, &code, stackFloors(stop, mappings))
        }
        // While the kernel copies page tables.
        let pendingWords = pending?.words(&shortfalls) ?? []
        pending = nil
        try map.take()
        let inFlight = image.inFlights()
        let clone = cloning == 0 ? leaks_clone_finish(stop) : cloning
        guard clone != -ETIMEDOUT else { throw sleepRefusal(processID) }
        let isMoving = inFlight.contains { !$0.returned }
        if isMoving && !isLastTry {
            isHeld = false
            _ = leaks_go_on(stop)
            if clone > 0 { _ = end(clone: clone, of: processID, code) }
            return nil
        }
        if isMoving {
            shortfalls.append(
                Shortfall(
                    what:
                        "a block that was being reallocated: it is at neither of its addresses while the kernel moves "
                        + "it"
                ))
        }

        let states = threadStates(stop, &shortfalls)
        let inodes = imageInodes(of: image, mappings)
        let memory: LiveMemory
        if clone > 0 {
            memory = LiveMemory(pid: clone)
            let clones = Set(parseMaps(procFile("/proc/\(clone)/maps") ?? []).map(\.range.lowerBound))
            for mapping in mappings where !mapping.isKernels && !inodes.contains(mapping.inode) {
                // The clone lacks this mapping (MADV_DONTFORK), has it empty, or shares it with the running program.
                let isMissing = !clones.contains(mapping.range.lowerBound)
                guard isMissing || mapping.isShared || wiped.contains(mapping.range.lowerBound) else { continue }
                for run in live.resident(mapping.range, isShared: mapping.isShared) where !memory.copy(run, from: live)
                {
                    shortfalls.append(
                        Shortfall(
                            what:
                                "a part of \(mapping.path.isEmpty ? "a mapping" : mapping.path) at "
                                + "\(hex(run.lowerBound)): it can't be read"
                        ))
                }
            }
            memory.sortCopies()
        } else {
            let reason = reasonForNoClone(processID, stop, Errno: -clone, hasBegun: cloning == 0)
            guard options.mayReadInPlace else { throw LeaksError("\(processID): can't be cloned (\(reason))") }
            notes.append(
                "no snapshot could be made\(obstacle != nil ? "" : " (\(reason))"): the program stood still while all "
                    + "its memory was read"
            )
            memory = live
        }
        isHeld = false
        let pause = clone > 0 ? leaks_go_on(stop) : 0
        let isGlibc = image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
        let moving = inFlight.compactMap(\.block)
        let table = BlockTable(granule: isGlibc ? 16 : 8, keepsTicks: options.keepsTicks) {
            map.forEachBlock(inFlight: moving, $0)
        }
        if !isWalkable(image) { shortfalls += imageShortfalls(image, isGlibc: isGlibc, &notes) }
        return Snapshot(
            processID: processID, threads: states, mappings: mappings, memory: memory, blocks: table,
            kernelWords: pendingWords,
            scratch: image.scratchRanges(),
            imageInodes: inodes, isGlibc: isGlibc, allocator: image.allocator,
            shortfalls: shortfalls, notes: notes, pauseNanoseconds: pause, copiedBytes: memory.copiedBytes,
            stop: clone > 0 ? nil : stop, clone: max(clone, 0), code: code,
            hasUnbooked: unbooked(image) != nil)
    }

    /// Why the program, which is stopped, made no clone.
    ///
    /// - Parameter hasBegun: whether the error is the kernel's answer, or of a call that could not begin.
    private static func reasonForNoClone(
        _ processID: pid_t, _ stop: OpaquePointer, Errno error: CInt, hasBegun: Bool
    ) -> String {
        if leaks_is_job_stopped(stop) != 0 {
            return "job control has stopped it (SIGSTOP), and a stopped program makes no call: "
                + "kill -CONT \(processID) lets it go on"
        }
        if error == EINTR { return "signals came in between each time" }
        if error == EAGAIN && !hasBegun { return "none of its threads could be led through a clone" }
        return String(cString: strerror(error))
    }

    /// Why live blocks may be missing in the image; nil: none is missing.
    static func unbooked(_ image: HeapImage) -> String? {
        if image.hasFlag(HEAP_FLAG_FORKED) { return "blocks that the process inherited by fork" }
        if image.hasFlag(HEAP_FLAG_ATTACHED) { return "blocks from before the recording was attached" }
        let losses = image.losses
        return losses.lost_allocations + losses.early_allocations + losses.paused_allocations > 0
            ? "blocks that could not be booked (heapsum info tells how many)" : nil
    }

    /// Whether the blocks that the image lacks can be found in malloc's arenas. A forked child is spared: which of its
    /// parent's blocks it should have freed is not its matter.
    private static func isWalkable(_ image: HeapImage) -> Bool {
        image.hasFlag(HEAP_FLAG_ATTACHED) && !image.hasFlag(HEAP_FLAG_FORKED) && !image.hasFlag(HEAP_FLAG_STOPPED)
            && image.header.granule_log2.0 == UInt8(HEAP_GRANULE_LOG2_FINE_GLIBC)
    }

    /// Reports live blocks that the image lacks. With glibc its heaps are searched instead, and a note says so; with
    /// another allocator it is a shortfall.
    static func imageShortfalls(_ image: HeapImage, isGlibc: Bool, _ notes: inout [String]) -> [Shortfall] {
        // Frees are not booked any more either: blocks in the image may have been freed.
        if image.hasFlag(HEAP_FLAG_STOPPED) {
            return [
                Shortfall(what: "what happened after the recording stopped: the image has no later blocks or frees")
            ]
        }
        guard let unbooked = unbooked(image) else { return [] }
        guard isGlibc else { return [Shortfall(what: "\(unbooked): they are not in its image, and may hold others")] }
        notes.append(
            "\(unbooked) are not in the image: blocks that only these or freed memory lead to are called possible")
        return []
    }

    static func threadStates(_ stop: OpaquePointer, _ shortfalls: inout [Shortfall]) -> [ThreadState] {
        var states: [ThreadState] = []
        for index in 0 ..< leaks_thread_count(stop) {
            guard let thread = leaks_thread_at(stop, index)?.pointee else { continue }
            if thread.is_stopped == 0 {
                // A thread that has ended has no registers to miss; one that exists but did not stop has.
                guard kill(thread.tid, 0) == 0 || errno == EPERM else { continue }
                shortfalls.append(
                    Shortfall(what: "the registers of thread \(thread.tid), which sleeps uninterruptibly"))
            }
            var vectors: [UInt64] = []
            if let bytes = thread.vectors {
                let raw = UnsafeRawBufferPointer(start: bytes, count: thread.vector_bytes)
                vectors = stride(from: 0, to: raw.count & ~7, by: 8).map {
                    raw.loadUnaligned(fromByteOffset: $0, as: UInt64.self)
                }.filter { $0 != 0 }
            }
            let registers =
                thread.is_stopped == 0
                ? [] : withUnsafeBytes(of: thread.registers) { Array($0.bindMemory(to: UInt64.self)) }
            states.append(
                ThreadState(
                    threadID: thread.tid, registers: registers, vectors: vectors, stackPointer: thread.stack_pointer,
                    threadPointer: thread.thread_pointer,
                    isInSystemCall: thread.in_system_call != 0))
        }
        return states
    }

    static func imageInodes(of image: HeapImage, _ mappings: [AddressMapping]) -> Set<UInt64> {
        var inodes: Set<UInt64> = []
        for mapping in mappings where mapping.isShared {
            var path = mapping.path[...]
            if path.hasSuffix(" (deleted)") { path.removeLast(10) }
            if path.hasSuffix("/" + image.imageName) || path.hasPrefix("/memfd:heapsum") || path.hasSuffix(".heap") {
                inodes.insert(mapping.inode)
            }
        }
        return inodes
    }

    /// Why no thread of the program should be made to clone; nil: nothing speaks against it. Each thread may have a
    /// filter of its own, and another namespace for its children.
    ///
    /// - Complexity: reads a file and two links for each thread.
    private static func obstacleToClone(_ processID: pid_t) -> String? {
        if Freezer.holding(livingThread(of: processID)) != nil {
            return "the program is frozen (docker pause, or another freezer), and can make no clone"
        }
        let threads = (try? namesInDirectory(FilePath("/proc/\(processID)/task"))) ?? []
        for thread in threads.compactMap({ pid_t($0.string) }) {
            if let mode = statusLine("Seccomp:", of: thread)?.first, mode != "0" {
                return "the program has a seccomp filter, which might kill it for a clone"
            }
            // One without a process in it yet can't be read; nor can that of a thread that has ended.
            let namespaces = ["pid", "pid_for_children"].map { link("/proc/\(processID)/task/\(thread)/ns/\($0)") }
            if namespaces[0] != nil, namespaces[0] != namespaces[1],
                let state = statusLine("State:", of: thread)?.first,
                !["Z", "X"].contains(state)
            {
                return "the program's next child begins a PID namespace, which a clone would end"
            }
        }
        return nil
    }

    private static func link(_ path: String) -> String? {
        var target = [CChar](repeating: 0, count: 64)
        let count = readlink(path, &target, 63)
        return count > 0 ? String(decoding: target[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil
    }
}

/// The words of a line of /proc/PID/status, without its name.
func statusLine(_ name: String, of thread: pid_t) -> [String]? {
    guard let text = procFile("/proc/\(thread)/status", limit: 1 << 16) else { return nil }
    for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: name.utf8) {
        return line.split(whereSeparator: { $0 == 9 || $0 == 32 }).dropFirst().map {
            String(decoding: $0, as: UTF8.self)
        }
    }
    return nil
}

func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
