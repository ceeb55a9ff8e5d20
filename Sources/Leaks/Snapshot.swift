// A recorded process at one instant: registers of all threads, mappings, live blocks, and its memory. The memory is
// that of a clone, and can be read without hurry. The program is stopped only while the kernel copies its page tables.
//
// Invariant: blocks, registers and memory are of one moment in which no thread ran. Whatever is missing is a shortfall.

import CHeapImage
import CLeaks
import Glibc
import HeapImage
import Proc
import Text

/// A thread at the snapshot's instant.
package struct ThreadState {
    package var threadID: pid_t
    /// Empty if the thread could not be stopped.
    var registers: [UInt64]
    /// The words of the vector registers. See Roots for when they are roots.
    var vectors: [UInt64]
    var stackPointer: UInt64
    var threadPointer: UInt64
    var isInSystemCall: Bool
    /// It will never run again or return: blocks that only its frames and registers hold are lost.
    var hasDeadFrames = false
}

/// A pointer that the kernel keeps for the program.
struct KernelWord: Hashable {
    var value: UInt64
    /// The place to show: "epoll 5, descriptor 7".
    var place: String
}

/// A process at one instant.
package final class Snapshot {
    package let processID: pid_t
    package let threads: [ThreadState]
    package let mappings: [AddressMapping]
    package let memory: any ProcessMemory
    package internal(set) var blocks: BlockTable
    var kernelWords: [KernelWord]
    /// The recorder's own memory in the process.
    let scratch: [Range<UInt64>]
    /// The image's mappings.
    let imageInodes: Set<UInt64>
    let isGlibc: Bool
    /// Whether there may be live blocks that the image doesn't have.
    let hasUnbooked: Bool
    /// Heaps of malloc's all blocks of which are known, although the image may lack some; sorted.
    var walkedHeaps: [Range<UInt64>] = []
    let allocator: String
    /// What is missing, and matters for the verdict.
    package var shortfalls: [Shortfall]
    /// What a reader should know, but does not matter for the verdict.
    package var notes: [String]
    /// How long the program was stopped, and how many bytes were copied meanwhile.
    package private(set) var pauseNanoseconds: UInt64
    package let copiedBytes: Int
    private var stop: OpaquePointer?
    private var clone: pid_t
    /// Since before the clone was made.
    var heldSignals: HeldSignals?
    private let code: leaks_code

    init(
        processID: pid_t, threads: [ThreadState], mappings: [AddressMapping], memory: any ProcessMemory,
        blocks: BlockTable, kernelWords: [KernelWord],
        scratch: [Range<UInt64>], imageInodes: Set<UInt64>, isGlibc: Bool, allocator: String, shortfalls: [Shortfall],
        notes: [String],
        pauseNanoseconds: UInt64, copiedBytes: Int, stop: OpaquePointer?, clone: pid_t, code: leaks_code,
        hasUnbooked: Bool
    ) {
        (self.processID, self.threads, self.mappings, self.memory, self.blocks) = (
            processID, threads, mappings, memory, blocks
        )
        (self.kernelWords, self.scratch, self.imageInodes, self.isGlibc, self.allocator) = (
            kernelWords, scratch, imageInodes, isGlibc, allocator
        )
        (self.shortfalls, self.notes, self.pauseNanoseconds, self.copiedBytes) = (
            shortfalls, notes, pauseNanoseconds, copiedBytes
        )
        (self.stop, self.clone, self.code, self.hasUnbooked) = (stop, clone, code, hasUnbooked)
    }

    /// Ends the clone, or resumes the program if it was read in place. Call it on the thread that took the snapshot.
    package func finish() {
        if let stop { pauseNanoseconds = leaks_go_on(stop) }
        stop = nil
        if clone > 0, Self.end(clone: clone, of: processID, code) < 0, kill(processID, 0) == 0 {
            notes.append(
                "the snapshot's process \(clone) could not be waited for in the program: it stays there as a zombie "
                    + "until the program ends"
            )
        }
        clone = 0
        heldSignals = nil
    }

    /// Ends a clone, and makes the program wait for it, so that no zombie stays.
    static func end(clone: pid_t, of processID: pid_t, _ code: leaks_code) -> CInt {
        let inner = statusLine("NSpid:", of: clone)?.last.flatMap { pid_t($0) } ?? clone
        leaks_kill_clone(clone)
        var code = code, stop: OpaquePointer?
        // All of them: another thread might use the bytes of a stack that are written meanwhile.
        let stopped = leaks_stop_all(processID, &stop)
        guard stopped == 0, let stop else { return stopped }
        defer { _ = leaks_go_on(stop) }
        return leaks_wait_for(stop, inner, &code, stackFloors(stop, mappings(of: processID)))
    }

    /// Those of the process now. The main thread may have ended, and then has no memory.
    static func mappings(of processID: pid_t) -> [AddressMapping] {
        let thread = Presence.livingThread(of: UInt32(bitPattern: processID)).map { pid_t(bitPattern: $0) }
        return procFile("/proc/\(thread ?? processID)/maps").map(parseMaps) ?? []
    }

    deinit { finish() }
}
